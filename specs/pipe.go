package specs

import "fmt"

// Pipe is one open description of an end of a pipe(2), or of both. All
// descriptions of a pipe have the same Inode, by which they are made together;
// what was written and not yet read stands in the one that Holds it.
type Pipe struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Inode is the number of the pipe in pipefs (of a FIFO, that of its file
	// system), an identity only.
	Inode uint64 `cbor:"2,keyasint,omitempty"`
	// Size is that of F_GETPIPE_SZ in bytes.
	Size int32 `cbor:"3,keyasint,omitempty"`
	// Data is what is in the pipe, Pages if it is much: Length bytes then, whose
	// offsets stand for addresses.
	Data []byte `cbor:"4,keyasint,omitempty"`
	// Packets are the lengths of the pieces of the data, in bytes, if packets are
	// in it (O_DIRECT of pipe(2)); without them it is all one stream. Streams are
	// the numbers, from 0 and rising, of pieces that are no packets but parts of
	// a stream.
	Packets []uint32 `cbor:"5,keyasint,omitempty"`
	Streams []uint32 `cbor:"7,keyasint,omitempty"`
	// Holds is true for the description that has the data of the pipe.
	Holds  bool     `cbor:"6,keyasint,omitempty"`
	Pages  []Extent `cbor:"8,keyasint,omitempty"`
	Length uint64   `cbor:"9,keyasint,omitempty"`
	// Mode, UID and GID are those of the pipe's inode.
	Mode uint32 `cbor:"10,keyasint,omitempty"`
	UID  uint32 `cbor:"11,keyasint,omitempty"`
	GID  uint32 `cbor:"12,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Pipe) RecordType() Type { return TypePipe }

// FIFO is one open description of a named pipe.
type FIFO struct {
	Pipe `cbor:"1,keyasint,omitempty"`
	// Path is seen from the container's root.
	Path string `cbor:"2,keyasint,omitempty"`
	// Device is the file system's number, an identity only.
	Device uint64 `cbor:"3,keyasint,omitempty"`
	// Deleted is true for one that has no name any more: Path is what it had.
	Deleted bool `cbor:"4,keyasint,omitempty"`
	// Unwritten is true for a reader that has not seen any writer: poll(2) does
	// not report POLLHUP to it (fifo(7), fs/pipe.c).
	Unwritten bool `cbor:"5,keyasint,omitempty"`
}

// RecordType implements Record.
func (*FIFO) RecordType() Type { return TypeFIFO }

// maxPipe bounds a pipe: fcntl(F_SETPIPE_SZ) takes no more.
const maxPipe = 1<<31 - 1

// Validate implements Record.
func (p *Pipe) Validate() error {
	return first(p.Description.validate(), within("size", p.Size, 0, maxPipe), ownable(p.UID, p.GID), within("mode", p.Mode, 0, 0o177777),
		within("length", uint64(len(p.Data))+p.Length, 0, uint64(max(p.Size, 0))), p.validatePieces())
}

// validatePieces checks that the pieces are those of the data.
func (p *Pipe) validatePieces() error {
	if len(p.Packets) == 0 {
		return within("number of streams", len(p.Streams), 0, 0)
	}
	var sum uint64
	for _, n := range p.Packets {
		sum += uint64(n)
	}
	last := int64(-1)
	for _, s := range p.Streams {
		if int64(s) <= last || int(s) >= len(p.Packets) {
			return fmt.Errorf("stream %d is none of %d pieces in order", s, len(p.Packets))
		}
		last = int64(s)
	}
	whole := uint64(len(p.Data)) + p.Length
	return within("sum of the pieces", sum, whole, whole)
}

// Validate implements Record.
func (f *FIFO) Validate() error { return first(f.Pipe.Validate(), path("path", f.Path)) }

package specs

// Pipe is one open end of a pipe(2). Both ends of a pipe, and all descriptions of
// it, have the same Inode, by which they are made together; the data stands in
// the one that Holds it.
type Pipe struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Inode is the number of the pipe in pipefs, an identity only.
	Inode uint64 `cbor:"2,keyasint,omitempty"`
	// Size is that of F_GETPIPE_SZ in bytes.
	Size int32 `cbor:"3,keyasint,omitempty"`
	// Data is what was written and not yet read. Packets are the lengths of its
	// pieces if the pipe was used with O_DIRECT.
	Data    []byte   `cbor:"4,keyasint,omitempty"`
	Packets []uint32 `cbor:"5,keyasint,omitempty"`
	Holds   bool     `cbor:"6,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Pipe) RecordType() Type { return TypePipe }

// FIFO is one open description of a named pipe.
type FIFO struct {
	Pipe `cbor:"1,keyasint,omitempty"`
	Path string `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*FIFO) RecordType() Type { return TypeFIFO }

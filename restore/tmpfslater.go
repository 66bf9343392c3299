package restore

import (
	"encoding/binary"

	"github.com/rethaw/rethaw/internal/pax"
	"golang.org/x/sys/unix"
)

// tmpfsLater remembers what is set of the files of a tmpfs when all is made, as a stream
// tells it only once: names and times, in some 30 bytes each, for the names are put
// down as what differs from the one before.
type tmpfsLater struct {
	log  []byte
	last string
}

// lateFile is one entry.
type lateFile struct {
	name         string
	flags        uint32
	atime, mtime int64
}

// add puts down an entry, but for those that have nothing of their own.
func (l *tmpfsLater) add(e *pax.Entry) {
	if e.Type == pax.HardLink || e.Mountpoint {
		return
	}
	same := 0
	for same < min(len(e.Name), len(l.last)) && e.Name[same] == l.last[same] {
		same++
	}
	l.log = binary.AppendUvarint(l.log, uint64(same))
	l.log = binary.AppendUvarint(l.log, uint64(len(e.Name)-same))
	l.log = append(l.log, e.Name[same:]...)
	l.log = binary.AppendUvarint(l.log, uint64(e.Flags))
	l.log = binary.AppendVarint(l.log, e.Atime)
	l.log = binary.AppendVarint(l.log, e.Mtime-e.Atime)
	l.last = e.Name
}

// each gives all entries in their order.
func (l *tmpfsLater) each(f func(lateFile) error) error {
	b, name := l.log, []byte(nil)
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	signed := func() int64 {
		v, n := binary.Varint(b)
		b = b[n:]
		return v
	}
	for len(b) > 0 {
		same, more := number(), number()
		name = append(name[:same], b[:more]...)
		b = b[more:]
		late := lateFile{name: string(name), flags: uint32(number())}
		late.atime = signed()
		late.mtime = late.atime + signed()
		if err := f(late); err != nil {
			return err
		}
	}
	return nil
}

func (e lateFile) times() []unix.Timespec {
	return []unix.Timespec{unix.NsecToTimespec(e.atime), unix.NsecToTimespec(e.mtime)}
}

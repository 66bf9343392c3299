package restore

import (
	"encoding/binary"
	"errors"
	"math"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func eventfdKind() fileKind {
	return fileKind{
		record: &specs.Eventfd{},
		open: func(_ *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			return eventfd(rec.(*specs.Eventfd))
		},
	}
}

func eventfd(rec *specs.Eventfd) (*os.File, error) {
	flags := unix.EFD_CLOEXEC
	if rec.Semaphore {
		flags |= unix.EFD_SEMAPHORE
	}
	// The call takes 32 bits only; the rest is written.
	first := uint64(min(rec.Count, math.MaxUint32))
	fd, err := unix.Eventfd(uint(first), flags)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	if more := rec.Count - first; more > 0 {
		if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, more)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return based(f, &rec.Description)
}

// based sets what all descriptions have, or closes the file.
func based(f *os.File, base *specs.Description) (*os.File, error) {
	if err := setBase(f, base, false); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

package checkpoint

import (
	"encoding/binary"
	"math"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// eventfdKind saves eventfd(2). The count stands in fdinfo, so that nothing is
// read from it.
func eventfdKind() fileKind {
	return fileKind{
		name:   "eventfd",
		is:     anonymous("[eventfd]"),
		refuse: refuseEventfd,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			e := &specs.Eventfd{Description: base, Count: f.info.EventfdCount, Semaphore: f.info.EventfdSemaphore}
			if f.info.HasEventfdSemaphore {
				return e, nil
			}
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			if k, err := d.kernelMemory(); err == nil {
				if e.Semaphore, err = k.EventfdSemaphore(int(own.Fd())); err == nil {
					return e, nil
				}
			}
			e.Semaphore, err = isSemaphore(int(own.Fd()), e.Count)
			return e, err
		},
	}
}

// refuseEventfd refuses the one count that write(2) cannot bring about: the
// overflow by a signal from within the kernel (eventfd(2), POLLERR).
func refuseEventfd(d *dump, f *openFile) error {
	if f.info.EventfdCount == math.MaxUint64 {
		return f.unsupported("its counter has overflowed", "read it before the checkpoint")
	}
	return refuseNews(d, f)
}

// isSemaphore finds out by reading whether an eventfd was made with
// EFD_SEMAPHORE, which kernels before 6.5 do not show, and puts the count back. It is for kernels whose memory cannot be read
// either: epoll(7) reports an edge anew, and the death of ours in between would take the count away.
func isSemaphore(fd int, count uint64) (bool, error) {
	// From 2 on the two kinds read differently.
	added := uint64(0)
	if count < 2 {
		added = 2
		if err := addEvents(fd, added); err != nil {
			return false, err
		}
	}
	got, err := takeEvents(fd)
	if err != nil {
		return false, err
	}
	if got != 1 {
		if count == 0 {
			return false, nil
		}
		return false, addEvents(fd, count)
	}
	if added == 0 {
		return true, addEvents(fd, 1)
	}
	for range added - 1 {
		if _, err := takeEvents(fd); err != nil {
			return true, err
		}
	}
	return true, nil
}

func addEvents(fd int, n uint64) error {
	_, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, n))
	return err
}

func takeEvents(fd int) (uint64, error) {
	var b [8]byte
	_, err := unix.Read(fd, b[:])
	return binary.NativeEndian.Uint64(b[:]), err
}

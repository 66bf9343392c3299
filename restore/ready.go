package restore

import (
	"errors"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// makeReady has poll(2) report something of a file, and returns what undoes it,
// nil if nothing was needed or nothing can be done.
func (r *restorer) makeReady(id specs.ID, f *os.File) (func() error, error) {
	p := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN | unix.POLLOUT | unix.POLLPRI | unix.POLLRDHUP}}
	if n, err := unix.Poll(p, 0); err != nil || n > 0 {
		return nil, err
	}
	rec, err := image.Get[specs.File](r.img, id)
	if err != nil {
		return nil, err
	}
	switch rec := rec.(type) {
	case *specs.Timerfd:
		// It ticks once; when it is armed that is forgotten.
		err := ioctlWord(int(f.Fd()), setTicks, 1)
		if errors.Is(err, unix.ENOTTY) {
			return nil, nil
		}
		return nil, err
	case *specs.Pipe:
		return fillByte(f, rec)
	case *specs.FIFO:
		// A writer would be seen by readers that have seen none.
		if !rec.Unwritten {
			return fillByte(f, &rec.Pipe)
		}
	}
	return nil, nil
}

// fillByte puts a byte into an empty pipe, and takes it out again.
func fillByte(f *os.File, rec *specs.Pipe) (func() error, error) {
	if rec.Flags&unix.O_ACCMODE != unix.O_RDONLY {
		return nil, nil
	}
	w, err := reopen(f, unix.O_WRONLY)
	if err != nil {
		return nil, err
	}
	if _, err := unix.Write(int(w.Fd()), []byte{0}); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return func() error {
		var b [1]byte
		_, err := unix.Read(int(f.Fd()), b[:])
		return err
	}, w.Close()
}

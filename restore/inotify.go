package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inotifyKind makes inotify instances; addWatches fills them when nothing more is
// done with files, so that nobody hears of the restore.
func inotifyKind() fileKind {
	return fileKind{
		record: &specs.Inotify{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			i := rec.(*specs.Inotify)
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				return nil, err
			}
			f, err := based(os.NewFile(uintptr(fd), "inotify"), &i.Description)
			if err == nil {
				r.files.inotify = append(r.files.inotify, watching{f, i, id})
			}
			return f, err
		},
	}
}

// watching is an instance that is to be filled.
type watching struct {
	f   *os.File
	rec *specs.Inotify
	id  specs.ID
}

// addWatches fills the instances.
func (r *restorer) addWatches() error {
	if len(r.files.inotify) == 0 {
		return nil
	}
	return r.within(func() error {
		for _, w := range r.files.inotify {
			if err := w.fill(); err != nil {
				return &Error{"watch files", describe(w.id, w.rec), err}
			}
		}
		return nil
	})
}

// fill adds the watches, from the lowest number up: the kernel counts. What this
// itself has put into the queue is taken out.
func (w *watching) fill() error {
	fd := int(w.f.Fd())
	for _, x := range w.rec.Watches {
		if err := place(fd, x); err != nil {
			return fmt.Errorf("%s: %w", x.Path, err)
		}
	}
	buf := make([]byte, 64<<10)
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		if _, err := unix.Read(fd, buf); err != nil {
			return err
		}
	}
}

// place adds one watch under its number: others that come first are removed.
func place(fd int, x specs.InotifyWatch) error {
	for range 1 << 22 {
		// The path is what a symbolic link led to.
		got, err := unix.InotifyAddWatch(fd, x.Path, x.Mask|unix.IN_DONT_FOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%w; restore with the same root filesystem", err)
		}
		if err != nil {
			return err
		}
		if int32(got) == x.WD {
			return nil
		}
		if int32(got) > x.WD {
			return fmt.Errorf("%w: watch %d is taken", ErrUnfit, x.WD)
		}
		if _, err := unix.InotifyRmWatch(fd, uint32(got)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: its number %d is too high", ErrUnfit, x.WD)
}

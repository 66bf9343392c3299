package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func stdioKind() fileKind {
	return fileKind{
		record: &specs.Stdio{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			s := rec.(*specs.Stdio)
			if s.Role < 0 || s.Role > 2 || r.files.stdio[s.Role] == nil {
				return nil, fmt.Errorf("%w: the fresh container has no descriptor %d", ErrUnfit, s.Role)
			}
			fresh := r.files.stdio[s.Role]
			var stat unix.Stat_t
			if err := unix.Fstat(int(fresh.Fd()), &stat); err != nil {
				return nil, err
			}
			f, err := openRole(fresh, s, &stat)
			if err != nil {
				return nil, err
			}
			return f, continueStdio(f, s, &stat)
		},
	}
}

// openRole gives the description that takes the place of s. The one that the
// program was started with is the fresh container's own, shared with whoever
// shares it outside. Others of the same file are opened anew as they were; a
// socket cannot be.
func openRole(fresh *os.File, s *specs.Stdio, stat *unix.Stat_t) (*os.File, error) {
	if s.Again && stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		flags := int(s.Flags)&^creation | unix.O_CLOEXEC | unix.O_NOCTTY
		fd := -1
		err := outside(func() error {
			var err error
			fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", fresh.Fd()), flags, 0)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("open descriptor %d of the fresh container again: %w", s.Role, err)
		}
		return os.NewFile(uintptr(fd), s.Was), nil
	}
	fd, err := unix.FcntlInt(fresh.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.Was), nil
}

// continueStdio sets status flags and position. O_APPEND is never taken away: who
// made the fresh file may rely on it.
func continueStdio(f *os.File, s *specs.Stdio, stat *unix.Stat_t) error {
	now, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	settable := unix.O_NONBLOCK
	if s.Mode&unix.S_IFMT == stat.Mode&unix.S_IFMT {
		settable |= unix.O_DIRECT
	}
	want := now&^settable | int(s.Flags)&(settable|unix.O_APPEND)
	if want != now {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, want); err != nil {
			return fmt.Errorf("set flags %#o of descriptor %d: %w", want, s.Role, err)
		}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	// The very file that it was: it goes on where it stood. Another: what is
	// in it stays, and a description of the caller's own is where he put it.
	switch same := s.Dev == stat.Dev && s.Ino == stat.Ino && s.Position <= stat.Size; {
	case same:
		_, err = unix.Seek(int(f.Fd()), s.Position, unix.SEEK_SET)
	case s.Again:
		_, err = unix.Seek(int(f.Fd()), 0, unix.SEEK_END)
	}
	return err
}

// takeStdio takes the placeholder's descriptors 0, 1 and 2, which the runtime
// gave it.
func (r *restorer) takeStdio() error {
	pidfd, err := unix.PidfdOpen(r.root.pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for i := range r.files.stdio {
		if fd, err := unix.PidfdGetfd(pidfd, i, 0); err == nil {
			r.files.stdio[i] = os.NewFile(uintptr(fd), "stdio")
		}
	}
	return nil
}

package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Flags of memfd_create(2) and seals that not every libc knows (Linux 6.3).
const (
	mfdNoExecSeal = 0x8
	mfdExec       = 0x10
	sealExec      = 0x20
)

func memfdKind() fileKind {
	return fileKind{
		record: &specs.Memfd{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			m := rec.(*specs.Memfd)
			f, err := r.memfdDescription(m)
			if err != nil {
				return nil, err
			}
			return f, setBase(f, &m.Description, true)
		},
	}
}

// memfdDescription makes a description of a memfd: that which memfd_create(2) made,
// or another.
func (r *restorer) memfdDescription(m *specs.Memfd) (*os.File, error) {
	file, err := r.mapped(m.Object)
	if err != nil {
		return nil, err
	}
	if !m.Original {
		return openAgain(file, int(m.Flags))
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// openAgain opens a file of ours once more.
func openAgain(file *os.File, flags int) (*os.File, error) {
	var f *os.File
	err := outside(func() error {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), flags&^creation|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if err != nil {
			return fmt.Errorf("open %s once more: %w", file.Name(), err)
		}
		f = os.NewFile(uintptr(fd), file.Name())
		return nil
	})
	return f, err
}

// makeMemfd makes a memfd with its contents. Seals are set at once if they
// forbid what has been done by then; F_SEAL_FUTURE_WRITE has to wait for the
// mappings that were made before it.
func (r *restorer) makeMemfd(s *specs.Shared) (*os.File, error) {
	f, err := createMemfd(s)
	if err != nil {
		return nil, fmt.Errorf("make memfd %q: %w", s.Name, err)
	}
	fd := int(f.Fd())
	for _, step := range []func() error{
		func() error { return unix.Ftruncate(fd, int64(s.Size)) },
		func() error { return r.fillShared(f, s) },
		func() error { return unix.Ftruncate(fd, int64(s.Size)) }, // filled by whole pages
		func() error { return unix.Fchown(fd, int(s.UID), int(s.GID)) },
		func() error { return unix.Fchmod(fd, s.Mode&0o7777) },
		func() error { return setTimes(fd, s.Atime, s.Mtime) },
		func() error {
			if sealsWait(s.Seals) {
				return nil
			}
			return seal(f, s.Seals)
		},
	} {
		if err := step(); err != nil {
			return nil, errors.Join(fmt.Errorf("make memfd %q: %w", s.Name, err), f.Close())
		}
	}
	return f, nil
}

func createMemfd(s *specs.Shared) (*os.File, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if s.HugePage != 0 {
		flags |= unix.MFD_HUGETLB | int(s.HugePage)<<unix.MAP_HUGE_SHIFT
	}
	fd, err := unix.MemfdCreate(s.Name, flags|mfdExec)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(s.Name, flags)
	}
	if errors.Is(err, unix.EACCES) && s.Seals&sealExec != 0 {
		fd, err = unix.MemfdCreate(s.Name, flags|mfdNoExecSeal) // vm.memfd_noexec=2
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "memfd:"+s.Name), nil
}

func sealsWait(seals uint32) bool {
	return seals&unix.F_SEAL_FUTURE_WRITE != 0 && seals&unix.F_SEAL_WRITE == 0
}

func seal(f *os.File, seals uint32) error {
	now, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return err
	}
	if now == int(seals) {
		return nil
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, int(seals)); err != nil {
		return fmt.Errorf("add seals %#x: %w", seals, err)
	}
	return nil
}

// finishMemfds sets the seals that had to wait.
func finishMemfds(r *restorer) error {
	for id, f := range r.files.mapped {
		rec, err := r.img.Record(id)
		if err != nil {
			return err
		}
		s, ok := rec.(*specs.Shared)
		if !ok || s.Kind != "memfd" || !sealsWait(s.Seals) {
			continue
		}
		if err := seal(f, s.Seals); err != nil {
			return &Error{"seal", f.Name(), err}
		}
	}
	return nil
}

package restore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/rethaw/rethaw/internal/afunix"
	"golang.org/x/sys/unix"
)

// address is how a socket is reached: by an abstract name, or by a name relative
// to a directory, since paths may be longer than a sockaddr_un holds, or lead
// nowhere for the task that connects.
type address struct {
	dir  *os.File
	name []byte
	// scratch is the directory that it is in for now.
	scratch *scratchDir
}

func (a *address) close() {
	if a.dir != nil {
		a.dir.Close()
		a.dir = nil
	}
}

// scratch are private directories in which sockets are bound. A name is what was
// given to bind(2), the file may be elsewhere or gone: so bind is called by a
// thread whose root is such a directory, where every name is free, and the
// file is moved to its place afterwards.
type scratch struct {
	// void is a tmpfs that is mounted nowhere, for files that have no place.
	void  *os.File
	count int
	dirs  []*scratchDir
	// touched are directories of the container in which files are made, with
	// the times that they had.
	touched map[string][2]unix.Timespec
}

// touch notes the times of a directory before it is changed.
func (s *scratch) touch(dir *os.File) error {
	if _, ok := s.touched[dir.Name()]; ok {
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return err
	}
	if s.touched == nil {
		s.touched = map[string][2]unix.Timespec{}
	}
	s.touched[dir.Name()] = [2]unix.Timespec{stat.Atim, stat.Mtim}
	return nil
}

// scratchDir is one such directory, which has one socket.
type scratchDir struct {
	parent *os.File
	// made are the directories below parent, the outermost first, file is the
	// socket's.
	made []string
	file string
}

// remove takes the directory away, and the file if it is still there.
func (s *scratchDir) remove() {
	if s.parent == nil {
		return
	}
	at := int(s.parent.Fd())
	_ = unix.Unlinkat(at, s.file, 0)
	for i := len(s.made) - 1; i >= 0; i-- {
		_ = unix.Unlinkat(at, s.made[i], unix.AT_REMOVEDIR)
	}
	s.parent.Close()
	s.parent = nil
}

// close removes what has no place: from now on it is a deleted file.
func (s *scratch) close() {
	for _, d := range s.dirs {
		d.remove()
	}
	s.dirs = nil
	if s.void != nil {
		s.void.Close()
		s.void = nil
	}
}

// bind gives a socket its name. Until settle it is reached in the scratch
// directory, by everybody.
func (u *unixSockets) bind(s *unixSocket) error {
	if len(s.rec.Name) == 0 {
		return nil
	}
	var err error
	s.at, err = u.bindName(s.file, s.rec.Name, s.rec.Path)
	return err
}

// bindName binds a socket to a name, whose file shall be at place in the end, or
// nowhere if place is "".
func (u *unixSockets) bindName(f *os.File, name []byte, place string) (address, error) {
	if afunix.Abstract(name) {
		err := u.space.Do(func() error { return afunix.Bind(int(f.Fd()), name) })
		return address{name: name}, err
	}
	var at address
	err := u.space.Do(func() error {
		var dir *os.File
		var err error
		if place == "" {
			dir, err = u.scratch.nowhere()
		} else {
			dir, err = openDir(unix.AT_FDCWD, path.Dir(place))
			if err == nil {
				err = errors.Join(vacant(dir, path.Base(place)), u.scratch.touch(dir))
			}
		}
		if err != nil {
			return err
		}
		at, err = u.scratch.bind(dir, f, name)
		return err
	})
	return at, err
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// nowhere gives the tmpfs that is mounted nowhere.
func (s *scratch) nowhere() (*os.File, error) {
	if s.void == nil {
		fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
		if err != nil {
			return nil, os.NewSyscallError("fsopen", err)
		}
		defer unix.Close(fs)
		if err := unix.FsconfigCreate(fs); err != nil {
			return nil, os.NewSyscallError("fsconfig", err)
		}
		fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("fsmount", err)
		}
		s.void = os.NewFile(uintptr(fd), "scratch")
	}
	fd, err := unix.FcntlInt(s.void.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), "scratch"), err
}

// vacant refuses a place that has something other than the file that the
// checkpointed socket has left behind.
func vacant(dir *os.File, base string) error {
	var stat unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	where := path.Join(dir.Name(), base)
	if err != nil {
		return &os.PathError{Op: "stat", Path: where, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("%w: %s is no socket; remove it, or restore with the container's own filesystem", ErrUnfit, where)
	}
	// A datagram socket may try any: whoever listens there does not notice.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := inDir(dir, func() error { return afunix.Connect(fd, []byte(base)) }); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%w: another process has a socket at %s; end it, or give the container a filesystem of its own", ErrUnfit, where)
	}
	return nil
}

// inDir runs f with dir as the working directory; the thread goes back to its
// root.
func inDir(dir *os.File, f func() error) error {
	if err := unix.Fchdir(int(dir.Fd())); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	return errors.Join(f(), os.NewSyscallError("chdir", unix.Chdir("/")))
}

// bind makes a scratch directory in parent, which it takes over, and binds the
// socket there. It runs on a thread that shares root and working directory with
// no other.
func (s *scratch) bind(parent, f *os.File, name []byte) (address, error) {
	s.count++
	d := &scratchDir{parent: parent}
	s.dirs = append(s.dirs, d)
	if err := d.mkdir(fmt.Sprintf(".rethaw-%d-%d", os.Getpid(), s.count)); err != nil {
		return address{}, err
	}
	base := path.Base(string(name))
	here := d.made[0]
	parts := strings.Split(string(name), "/")
	for _, part := range parts[:len(parts)-1] {
		// Each must be there, even if ".." leads out again; above the root
		// that leads nowhere.
		here = path.Join(d.made[0], path.Join("/", strings.TrimPrefix(here, d.made[0]), part))
		if err := d.mkdir(here); err != nil {
			return address{}, err
		}
	}
	d.file = path.Join(here, base)
	if err := d.asRoot(func() error { return afunix.Bind(int(f.Fd()), name) }); err != nil {
		return address{}, err
	}
	dir, err := openDir(int(parent.Fd()), here)
	return address{dir: dir, name: []byte(base), scratch: d}, err
}

// mkdir makes a directory below parent through which tasks with other ids may
// go, and in which nobody but us may change anything.
func (s *scratchDir) mkdir(name string) error {
	at := int(s.parent.Fd())
	err := unix.Mkdirat(at, name, 0o700)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err == nil {
		s.made = append(s.made, name)
		err = unix.Fchmodat(at, name, 0o711, 0)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path.Join(s.parent.Name(), name), Err: err}
	}
	return nil
}

// asRoot runs f with the scratch directory as root and working directory.
func (s *scratchDir) asRoot(f func() error) error {
	old, err := openDir(unix.AT_FDCWD, "/")
	if err != nil {
		return err
	}
	defer old.Close()
	root, err := openDir(int(s.parent.Fd()), s.made[0])
	if err != nil {
		return err
	}
	defer root.Close()
	mask := unix.Umask(0)
	defer unix.Umask(mask)
	if err := errors.Join(unix.Fchdir(int(root.Fd())), unix.Chroot(".")); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	err = f()
	return errors.Join(err, os.NewSyscallError("chroot", errors.Join(unix.Fchdir(int(old.Fd())), unix.Chroot("."))))
}

// settle brings a socket's file to its place, with its owner and mode; what the
// checkpointed socket has left there is replaced.
func (u *unixSockets) settle(s *unixSocket) error {
	if s.at.dir == nil || s.rec.Accepted || s.rec.Path == "" {
		return nil
	}
	return u.space.Do(func() error {
		base, from := string(s.at.name), int(s.at.dir.Fd())
		times := []unix.Timespec{unix.NsecToTimespec(s.rec.Atime), unix.NsecToTimespec(s.rec.Mtime)}
		dir, err := openDir(unix.AT_FDCWD, path.Dir(s.rec.Path))
		if err != nil {
			return err
		}
		for _, step := range []func() error{
			func() error {
				return unix.Fchownat(from, base, int(s.rec.UID), int(s.rec.GID), unix.AT_SYMLINK_NOFOLLOW)
			},
			func() error { return unix.Fchmodat(from, base, s.rec.Mode&0o7777, 0) },
			func() error { return unix.UtimesNanoAt(from, base, times, unix.AT_SYMLINK_NOFOLLOW) },
			func() error { return unix.Renameat(from, base, int(dir.Fd()), path.Base(s.rec.Path)) },
		} {
			if err := step(); err != nil {
				return &os.PathError{Op: "place socket", Path: s.rec.Path, Err: err}
			}
		}
		s.at.close()
		s.at.scratch.remove()
		s.at = address{dir: dir, name: []byte(path.Base(s.rec.Path))}
		return nil
	})
}

// untouch gives directories their times back, when all files are in their places.
func (u *unixSockets) untouch() error {
	return u.space.Do(func() error {
		for dir, times := range u.scratch.touched {
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, dir, times[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return &os.PathError{Op: "set times", Path: dir, Err: err}
			}
		}
		return nil
	})
}

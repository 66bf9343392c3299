package restore

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// reopener opens paths of the container with our rights. What a path leads to may have been changed since
// the checkpoint, by another container with the same volume even now: a FIFO that would keep us
// waiting, a device that reacts to being opened and that the container's own rules keep from it. So the
// path is followed first, without opening what is there, then that is looked at, and then that very
// file is opened, by its link in our own /proc, whose place the path cannot lead to.
type reopener struct {
	// fds is our /proc/self/fd; the container's /proc does not show us, and is the container's.
	fds *os.File
}

// newReopener has to be called on a thread of our own namespaces.
func newReopener() (reopener, error) {
	fds, err := os.OpenFile("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY, 0)
	return reopener{fds}, err
}

func (o reopener) close() error {
	if o.fds == nil {
		return nil
	}
	return o.fds.Close()
}

// link makes a name in the directory dir for a file that we have open.
func (o reopener) link(file *os.File, dir int, name string) error {
	if o.fds == nil {
		return unix.ENOENT
	}
	return unix.Linkat(int(o.fds.Fd()), strconv.Itoa(int(file.Fd())), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// open opens path if fits finds nothing wrong with what is there. Links of /proc are not followed on
// the way: no path of a file outside of /proc has one.
func (o reopener) open(path string, flags int, fits func(*unix.Stat_t) error) (*os.File, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOCTTY
	there, err := follow(path, unix.O_PATH|flags&unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	err = checked(there, path, fits)
	if err != nil || flags&unix.O_PATH != 0 {
		unix.Close(there)
		if err != nil {
			return nil, err
		}
		fd, err := follow(path, flags)
		return fileOrError(fd, path, err)
	}
	defer unix.Close(there)
	if flags&unix.O_NOFOLLOW == 0 {
		fd, err := unix.Openat(int(o.fds.Fd()), strconv.Itoa(there), flags, 0)
		return fileOrError(fd, path, err)
	}
	// The flag shows in fdinfo for ever and keeps us from the link in /proc: there is a
	// moment in which the file can be changed. At least nothing waits for long.
	fd, err := follow(path, flags|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := checked(fd, path, fits); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if flags&unix.O_NONBLOCK == 0 {
		now, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, now&^unix.O_NONBLOCK)
		}
		if err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// follow opens a path without following links of /proc. O_NONBLOCK|O_PATH and the like,
// which open(2) takes, openat2(2) does not: what O_PATH leaves out is left out.
func follow(path string, flags int) (int, error) {
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	}
	for n := 0; ; n++ {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
			Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_NO_MAGICLINKS,
		})
		if n < 100 && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			continue
		}
		return fd, err
	}
}

// checked looks at an open file.
func checked(fd int, path string, fits func(*unix.Stat_t) error) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	return fits(&stat)
}

func fileOrError(fd int, path string, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// whatever fits any file, for descriptors that open nothing (O_PATH).
func whatever(*unix.Stat_t) error { return nil }

// ofType fits files of a type (S_IFREG...), which what names.
func ofType(kind uint32, what string) func(*unix.Stat_t) error {
	return func(stat *unix.Stat_t) error {
		if stat.Mode&unix.S_IFMT != kind {
			return fmt.Errorf("%w: is no %s any more", ErrUnfit, what)
		}
		return nil
	}
}

// theDevice fits the device of a number.
func theDevice(major, minor uint32) func(*unix.Stat_t) error {
	return func(stat *unix.Stat_t) error {
		kind := stat.Mode & unix.S_IFMT
		if kind != unix.S_IFCHR && kind != unix.S_IFBLK || unix.Major(stat.Rdev) != major || unix.Minor(stat.Rdev) != minor {
			return fmt.Errorf("%w: is not device %d:%d here", ErrUnfit, major, minor)
		}
		return nil
	}
}

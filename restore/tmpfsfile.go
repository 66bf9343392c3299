package restore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/pax"
	"golang.org/x/sys/unix"
)

// nodeTypes are the types of files that mknod(2) makes.
var nodeTypes = map[byte]uint32{
	pax.Char: unix.S_IFCHR, pax.Block: unix.S_IFBLK, pax.FIFO: unix.S_IFIFO, pax.Socket: unix.S_IFSOCK,
}

// file makes a file that is no directory, with its attributes; one that exists
// gets only these.
func (f *filler) file(e *pax.Entry, dir *os.File, name string, exists bool) error {
	at := int(dir.Fd())
	var err error
	switch {
	case e.Type == pax.HardLink:
		return f.link(e, at, name)
	case e.Type == pax.Regular:
		return f.regular(e, at, name)
	case exists:
	case e.Type == pax.Symlink:
		err = unix.Symlinkat(e.Link, at, name)
	default:
		err = unix.Mknodat(at, name, nodeTypes[e.Type]|0o600, int(unix.Mkdev(e.Major, e.Minor)))
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(at, name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if e.Type != pax.Symlink {
		// It is no link, and nobody else is here to make it one.
		if err := unix.Fchmodat(at, name, e.Mode, 0); err != nil {
			return fmt.Errorf("set permissions: %w", err)
		}
	}
	if len(e.Xattrs) > 0 {
		err := inDirectory(dir, func() error {
			return setXattrs(e, func(attr string, value []byte) error { return unix.Lsetxattr(name, attr, value, 0) })
		})
		if err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(at, name, timesOf(e), unix.AT_SYMLINK_NOFOLLOW)
}

// link makes another name for a file that has been made.
func (f *filler) link(e *pax.Entry, dir int, name string) error {
	target, err := f.open(e.Link, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer target.Close()
	err = unix.Linkat(int(target.Fd()), "", dir, name, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) {
		// So say kernels before 6.10 to who has no CAP_DAC_READ_SEARCH (linkat(2)).
		err = f.r.reopen.link(target, dir, name)
	}
	return err
}

// open opens a file of the mount by its name in the archive.
func (f *filler) open(name string, flags uint64) (*os.File, error) {
	inside, ok := strings.CutPrefix(name, f.prefix+"/")
	if name == f.prefix {
		inside, ok = ".", true
	}
	if !ok {
		return nil, fmt.Errorf("%w: /%s is not on the mount", ErrUnfit, name)
	}
	fd, err := unix.Openat2(int(f.top.Fd()), inside, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// regular makes a regular file with its data, and holes where it had them.
func (f *filler) regular(e *pax.Entry, dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if e.Mountpoint {
		return nil
	}
	if err := unix.Ftruncate(fd, e.Size); err != nil {
		return err
	}
	if e.Full {
		if err := unix.Fallocate(fd, 0, 0, e.Size); err != nil {
			return fmt.Errorf("allocate: %w", err)
		}
	}
	data := e.Data
	if !e.Sparse {
		data = []pax.Range{{Size: e.Size}}
	}
	at := e.At
	for _, d := range data {
		if err := f.copy(file, d, at); err != nil {
			return err
		}
		at += d.Size
	}
	if err := setAttributes(fd, e); err != nil {
		return err
	}
	return setTimes(fd, e.Atime, e.Mtime)
}

// copy copies what the archive has at an offset to a range of the file.
func (f *filler) copy(file *os.File, d pax.Range, at int64) error {
	for done := int64(0); done < d.Size; {
		n, err := f.archive.ReadAt(f.buf[:min(int64(len(f.buf)), d.Size-done)], at+done)
		if n == 0 {
			return fmt.Errorf("read archive: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		if _, err := file.WriteAt(f.buf[:n], d.Start+done); err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// setAttributes gives an open file owner, permissions and extended attributes, in
// this order: a new owner takes set-id bits and capabilities away.
func setAttributes(fd int, e *pax.Entry) error {
	if err := unix.Fchown(fd, int(e.UID), int(e.GID)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, e.Mode); err != nil {
		return fmt.Errorf("set permissions: %w", err)
	}
	return setXattrs(e, func(attr string, value []byte) error { return unix.Fsetxattr(fd, attr, value, 0) })
}

func setXattrs(e *pax.Entry, set func(attr string, value []byte) error) error {
	for _, x := range e.Xattrs {
		if err := set(x.Name, []byte(x.Value)); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", x.Name, err)
		}
	}
	return nil
}

func timesOf(e *pax.Entry) []unix.Timespec {
	return []unix.Timespec{unix.NsecToTimespec(e.Atime), unix.NsecToTimespec(e.Mtime)}
}

// finish sets the times of all files, and then the flags that forbid changes.
func (f *filler) finish(later *tmpfsLater) error {
	return later.each(func(e lateFile) error {
		if err := f.complete(e); err != nil {
			return fmt.Errorf("/%s: %w", e.name, err)
		}
		return nil
	})
}

func (f *filler) complete(e lateFile) error {
	file, err := f.open(e.name, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.EXDEV) {
		return nil // the fresh container has something mounted there
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.UtimesNanoAt(int(file.Fd()), "", e.times(), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	if e.flags == 0 {
		return nil
	}
	opened, err := f.open(e.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer opened.Close()
	if err := unix.IoctlSetPointerInt(int(opened.Fd()), unix.FS_IOC_SETFLAGS, int(e.flags)); err != nil {
		return fmt.Errorf("set flags %#x (chattr(1)): %w", e.flags, err)
	}
	return nil
}

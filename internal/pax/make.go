package pax

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// nodeTypes are the types of files that mknod(2) makes.
var nodeTypes = map[byte]uint32{Char: unix.S_IFCHR, Block: unix.S_IFBLK, FIFO: unix.S_IFIFO, Socket: unix.S_IFSOCK}

// Make makes a file of dir that is neither a directory nor a hard link, and for which there is
// no name yet, with all its attributes. data has its ranges.
func (h *Header) Make(dir *os.File, name string, data io.Reader) error {
	at := int(dir.Fd())
	var err error
	switch {
	case h.Type == Regular:
		return h.makeRegular(at, name, data)
	case h.Type == Symlink:
		err = unix.Symlinkat(h.Link, at, name)
	case nodeTypes[h.Type] != 0:
		err = unix.Mknodat(at, name, nodeTypes[h.Type]|0o600, int(unix.Mkdev(h.Major, h.Minor)))
	default:
		err = fmt.Errorf("an entry of the type %q: %w", h.Type, errors.ErrUnsupported)
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(at, name, int(h.UID), int(h.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if h.Type != Symlink {
		// It is no link, and nobody else is here to make it one.
		if err := unix.Fchmodat(at, name, h.Mode, 0); err != nil {
			return fmt.Errorf("set permissions: %w", err)
		}
	}
	path := "/proc/self/fd/" + strconv.Itoa(at) + "/" + name
	if err := h.setXattrs(func(attr string, b []byte) error { return unix.Lsetxattr(path, attr, b, 0) }); err != nil {
		return err
	}
	return unix.UtimesNanoAt(at, name, h.Times(), unix.AT_SYMLINK_NOFOLLOW)
}

// makeRegular makes a regular file with its data, and holes where it had them.
func (h *Header) makeRegular(dir int, name string, data io.Reader) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	ranges := h.Data
	if !h.Sparse {
		ranges = []Range{{Size: h.Size}}
	}
	for _, r := range ranges {
		n, err := io.Copy(io.NewOffsetWriter(f, r.Start), io.LimitReader(data, r.Size))
		if err == nil && n < r.Size {
			err = ErrTruncated
		}
		if err != nil {
			return err
		}
	}
	if err := f.Truncate(h.Size); err != nil {
		return err
	}
	if err := h.SetAttributes(f); err != nil {
		return err
	}
	if err := h.setFlags(f); err != nil {
		return err
	}
	return h.SetTimes(f)
}

// SetAttributes gives an open file its owner, permissions and extended attributes, in
// this order: a new owner takes set-id bits and capabilities away.
func (h *Header) SetAttributes(f *os.File) error {
	fd := int(f.Fd())
	if err := unix.Fchown(fd, int(h.UID), int(h.GID)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, h.Mode); err != nil {
		return fmt.Errorf("set permissions: %w", err)
	}
	return h.setXattrs(func(attr string, b []byte) error { return unix.Fsetxattr(fd, attr, b, 0) })
}

func (h *Header) setXattrs(set func(attr string, value []byte) error) error {
	for _, x := range h.Xattrs {
		if err := set(x.Name, []byte(x.Value)); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", x.Name, err)
		}
	}
	return nil
}

// setFlags sets the flags of chattr(1).
func (h *Header) setFlags(f *os.File) error {
	if h.Flags == 0 {
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(h.Flags)); err != nil {
		return fmt.Errorf("set flags %#x (chattr(1)): %w", h.Flags, err)
	}
	return nil
}

// SetTimes sets the times of an open file.
func (h *Header) SetTimes(f *os.File) error {
	if err := unix.UtimesNanoAt(int(f.Fd()), "", h.Times(), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// Times are the access and the modification time.
func (h *Header) Times() []unix.Timespec {
	return []unix.Timespec{unix.NsecToTimespec(h.Atime), unix.NsecToTimespec(h.Mtime)}
}

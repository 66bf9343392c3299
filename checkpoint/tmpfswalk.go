package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/internal/pax"
	"golang.org/x/sys/unix"
)

// tmpfsWalk writes the files of one tmpfs into an archive: each directory before
// what is in it. Files are opened relative to their directories and links are never
// followed; access times stay as they are.
type tmpfsWalk struct {
	w *pax.Writer
	// mount is the number of the mount: what is on another one belongs not here.
	mount uint64
	// links are the files with several names of which not all have been met.
	links map[uint64]hardLink
	buf   []byte
}

// hardLink is the first name of a file, and how many more are to come.
type hardLink struct {
	name string
	left uint32
}

// namesAtOnce bounds the names that are held of one directory.
const namesAtOnce = 1 << 16

// top writes the mount's root directory and all below it.
func (t *tmpfsWalk) top(dir *os.File, name string) error {
	var stat unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stat); err != nil {
		return err
	}
	return t.directory(dir, name, &stat)
}

// directory writes a directory and what is in it.
func (t *tmpfsWalk) directory(dir *os.File, name string, stat *unix.Statx_t) error {
	h := header(name, pax.Directory, stat)
	var err error
	if h.Xattrs, err = t.xattrs(dir.Name(), func(b []byte) (int, error) { return unix.Flistxattr(int(dir.Fd()), b) },
		func(attr string, b []byte) (int, error) { return unix.Fgetxattr(int(dir.Fd()), attr, b) }); err != nil {
		return err
	}
	if err := t.w.Header(h); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		// The newest comes first; made again in the order of their age they
		// are listed as they were.
		slices.Reverse(names)
		for _, n := range names {
			if err := t.file(dir, n, name+"/"+n); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// file writes the file n of dir under its name in the archive.
func (t *tmpfsWalk) file(dir *os.File, n, name string) error {
	var stat unix.Statx_t
	err := unix.Statx(int(dir.Fd()), n, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stat)
	if err != nil {
		return err
	}
	kind, err := tarType(uint32(stat.Mode))
	if err != nil {
		return err
	}
	if stat.Mnt_id != t.mount {
		if kind != pax.Directory {
			kind = pax.Regular
		}
		return t.w.Header(&pax.Header{Name: name, Type: kind, Mountpoint: true})
	}
	if kind != pax.Directory && stat.Nlink > 1 {
		if first, known := t.links[stat.Ino]; known {
			if first.left--; first.left == 0 {
				delete(t.links, stat.Ino)
			} else {
				t.links[stat.Ino] = first
			}
			return t.w.Header(&pax.Header{Name: name, Type: pax.HardLink, Link: first.name})
		}
		t.links[stat.Ino] = hardLink{name, stat.Nlink - 1}
	}
	if kind == pax.Directory || kind == pax.Regular {
		return t.opened(dir, n, name, kind, &stat)
	}
	if err := t.special(dir, n, header(name, kind, &stat)); err != nil || kind != pax.Symlink {
		return err
	}
	// Reading it has set its access time, as a rule (O_NOATIME is for open files), and
	// a stream looks twice.
	return keepAtime(dir, n, nanoseconds(stat.Atime))
}

// opened writes a directory or a regular file.
func (t *tmpfsWalk) opened(dir *os.File, n, name string, kind byte, stat *unix.Statx_t) error {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_NONBLOCK | unix.O_CLOEXEC
	if kind == pax.Directory {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(int(dir.Fd()), n, flags, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), n)
	defer f.Close()
	if kind == pax.Directory {
		return t.directory(f, name, stat)
	}
	return t.regular(f, header(name, kind, stat), stat)
}

// regular writes a file with its data, without its holes.
func (t *tmpfsWalk) regular(f *os.File, h *pax.Header, stat *unix.Statx_t) error {
	fd := int(f.Fd())
	h.Size = int64(stat.Size)
	var err error
	if h.Xattrs, err = t.xattrs(f.Name(), func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(attr string, b []byte) (int, error) { return unix.Fgetxattr(fd, attr, b) }); err != nil {
		return err
	}
	if h.Data, err = dataRanges(fd, h.Size); err != nil {
		return err
	}
	h.Sparse = h.Size > 0 && !(len(h.Data) == 1 && h.Data[0].Size == h.Size)
	const block = 512 // stx_blocks counts in these
	h.Full = h.Sparse && int64(stat.Blocks)*block >= h.Size
	if err := t.w.Header(h); err != nil {
		return err
	}
	for _, r := range h.Data {
		for done := int64(0); done < r.Size; {
			n, err := f.ReadAt(t.buf[:min(int64(len(t.buf)), r.Size-done)], r.Start+done)
			if n == 0 {
				return fmt.Errorf("read at %d: %w", r.Start+done, err)
			}
			if _, err := t.w.Write(t.buf[:n]); err != nil {
				return err
			}
			done += int64(n)
		}
	}
	return nil
}

// dataRanges finds the parts of a file that are no holes.
func dataRanges(fd int, size int64) ([]pax.Range, error) {
	var list []pax.Range
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		at = min(hole, size)
		list = append(list, pax.Range{Start: data, Size: at - data})
	}
	return list, nil
}

// special writes a file that is not opened: a link, FIFO, socket or device.
func (t *tmpfsWalk) special(dir *os.File, n string, h *pax.Header) error {
	if h.Type == pax.Symlink {
		b := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(int(dir.Fd()), n, b)
		if err != nil {
			return err
		}
		h.Link = string(b[:size])
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), n)
	var err error
	h.Xattrs, err = t.xattrs(n, func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(attr string, b []byte) (int, error) { return unix.Lgetxattr(path, attr, b) })
	if err != nil {
		return err
	}
	return t.w.Header(h)
}

// keepAtime gives a file the access time that it had before we looked.
func keepAtime(dir *os.File, n string, atime int64) error {
	var now unix.Statx_t
	err := unix.Statx(int(dir.Fd()), n, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_ATIME, &now)
	if err != nil || nanoseconds(now.Atime) == atime {
		return err
	}
	times := []unix.Timespec{unix.NsecToTimespec(atime), {Nsec: unix.UTIME_OMIT}}
	err = unix.UtimesNanoAt(int(dir.Fd()), n, times, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EPERM) {
		return nil // then reading has not set it either, or it cannot be helped
	}
	return err
}

// xattrs reads all extended attributes of a file.
func (t *tmpfsWalk) xattrs(name string, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]pax.Xattr, error) {
	n, err := list(t.buf[:64<<10])
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes of %s: %w", name, err)
	}
	var attrs []pax.Xattr
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(t.buf[:n]), "\x00"), "\x00") {
		n, err := get(attr, t.buf[:64<<10])
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s of %s: %w", attr, name, err)
		}
		attrs = append(attrs, pax.Xattr{Name: attr, Value: string(t.buf[:n])})
	}
	return attrs, nil
}

// header fills in what all types have.
func header(name string, kind byte, stat *unix.Statx_t) *pax.Header {
	const flags = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP
	return &pax.Header{
		Name: name, Type: kind, Mode: uint32(stat.Mode) & 0o7777, UID: stat.Uid, GID: stat.Gid,
		Mtime: nanoseconds(stat.Mtime), Atime: nanoseconds(stat.Atime),
		Major: stat.Rdev_major, Minor: stat.Rdev_minor, Flags: uint32(stat.Attributes & flags),
	}
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// tarType is the type of an archive's entry for a file's.
func tarType(mode uint32) (byte, error) {
	kind, ok := map[uint32]byte{
		unix.S_IFREG: pax.Regular, unix.S_IFDIR: pax.Directory, unix.S_IFLNK: pax.Symlink, unix.S_IFCHR: pax.Char,
		unix.S_IFBLK: pax.Block, unix.S_IFIFO: pax.FIFO, unix.S_IFSOCK: pax.Socket,
	}[mode&unix.S_IFMT]
	if !ok {
		return 0, fmt.Errorf("mode %o: %w", mode, ErrUnsupported)
	}
	return kind, nil
}

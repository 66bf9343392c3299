package pax

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Saver writes files of a filesystem into an archive. Links are not followed, and
// access times stay as they are if the files are opened so.
type Saver struct {
	W *Writer
	// Keep says whether an extended attribute is saved; an error refuses the file. nil
	// for all.
	Keep func(attr string) (bool, error)
	buf  []byte
}

// NewSaver makes a Saver to w.
func NewSaver(w *Writer) *Saver { return &Saver{W: w, buf: make([]byte, 256<<10)} }

// maxXattrs bounds in bytes the names of an inode's extended attributes, and the value of
// one (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

// NewHeader fills in what all types of files have.
func NewHeader(name string, stat *unix.Statx_t) (*Header, error) {
	kind, err := typeOf(uint32(stat.Mode))
	const flags = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP
	return &Header{
		Name: name, Type: kind, Mode: uint32(stat.Mode) & 0o7777, UID: stat.Uid, GID: stat.Gid,
		Mtime: nanoseconds(stat.Mtime), Atime: nanoseconds(stat.Atime),
		Major: stat.Rdev_major, Minor: stat.Rdev_minor, Flags: uint32(stat.Attributes & flags),
	}, err
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// typeOf is the type of an archive's entry for a file's.
func typeOf(mode uint32) (byte, error) {
	kind, ok := map[uint32]byte{
		unix.S_IFREG: Regular, unix.S_IFDIR: Directory, unix.S_IFLNK: Symlink, unix.S_IFCHR: Char,
		unix.S_IFBLK: Block, unix.S_IFIFO: FIFO, unix.S_IFSOCK: Socket,
	}[mode&unix.S_IFMT]
	if !ok {
		return 0, fmt.Errorf("a file of mode %o: %w", mode, errors.ErrUnsupported)
	}
	return kind, nil
}

// Directory writes the entry of a directory that is open.
func (s *Saver) Directory(f *os.File, h *Header) error {
	var err error
	if h.Xattrs, err = s.Opened(f); err != nil {
		return err
	}
	return s.W.Header(h)
}

// Regular writes a file that is open, with its data and without its holes.
func (s *Saver) Regular(f *os.File, h *Header, stat *unix.Statx_t) error {
	h.Size = int64(stat.Size)
	var err error
	if h.Xattrs, err = s.Opened(f); err != nil {
		return err
	}
	if h.Data, err = dataRanges(int(f.Fd()), h.Size); err != nil {
		return err
	}
	if len(h.Data) > maxRanges {
		h.Data = []Range{{Size: h.Size}}
	}
	h.Sparse = h.Size > 0 && !(len(h.Data) == 1 && h.Data[0].Size == h.Size)
	const block = 512 // stx_blocks counts in these
	h.Full = h.Sparse && int64(stat.Blocks)*block >= h.Size
	if err := s.W.Header(h); err != nil {
		return err
	}
	for _, r := range h.Data {
		if err := s.copy(f, r); err != nil {
			return err
		}
	}
	return nil
}

// copy writes one range of a file.
func (s *Saver) copy(f *os.File, r Range) error {
	for done := int64(0); done < r.Size; {
		n, err := f.ReadAt(s.buf[:min(int64(len(s.buf)), r.Size-done)], r.Start+done)
		if n == 0 {
			return fmt.Errorf("read at %d: %w", r.Start+done, err)
		}
		if _, err := s.W.Write(s.buf[:n]); err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// dataRanges finds the parts of a file that are no holes.
func dataRanges(fd int, size int64) ([]Range, error) {
	var list []Range
	for at := int64(0); at < size; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		if data >= size {
			break
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		at = min(hole, size)
		list = append(list, Range{Start: data, Size: at - data})
	}
	return list, nil
}

// Special writes the file n of dir, which is not opened: a link, FIFO, socket or device.
func (s *Saver) Special(dir *os.File, n string, h *Header) error {
	if h.Type == Symlink {
		b := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(int(dir.Fd()), n, b)
		if err != nil {
			return err
		}
		h.Link = string(b[:size])
	}
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), n)
	var err error
	h.Xattrs, err = s.xattrs(n, func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(attr string, b []byte) (int, error) { return unix.Lgetxattr(path, attr, b) })
	if err != nil {
		return err
	}
	if h.Type == Symlink {
		// Reading it has set its access time, as a rule (O_NOATIME is for open files).
		if err := keepAtime(dir, n, h.Atime); err != nil {
			return err
		}
	}
	return s.W.Header(h)
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

// Opened reads the extended attributes of an open file.
func (s *Saver) Opened(f *os.File) ([]Xattr, error) {
	fd := int(f.Fd())
	return s.xattrs(f.Name(), func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(attr string, b []byte) (int, error) { return unix.Fgetxattr(fd, attr, b) })
}

// xattrs reads the extended attributes of a file that are to be kept.
func (s *Saver) xattrs(name string, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]Xattr, error) {
	n, err := list(s.buf[:maxXattrs])
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes of %s: %w", name, err)
	}
	var attrs []Xattr
	for attr := range strings.SplitSeq(strings.TrimSuffix(string(s.buf[:n]), "\x00"), "\x00") {
		if s.Keep != nil {
			keep, err := s.Keep(attr)
			if err != nil {
				return nil, err
			}
			if !keep {
				continue
			}
		}
		n, err := get(attr, s.buf[:maxXattrs])
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s of %s: %w", attr, name, err)
		}
		attrs = append(attrs, Xattr{Name: attr, Value: string(s.buf[:n])})
	}
	return attrs, nil
}

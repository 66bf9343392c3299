package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// Changes are those of one filesystem.
type Changes interface {
	// Save writes them into an archive, with names that begin with prefix, and
	// whether the filesystem could take part at all: a file that cannot be
	// carried is an ErrUnsupported.
	Save(ctx context.Context, w *pax.Writer, prefix string) error
	// Check is Save without the archive: it finds what Save would refuse.
	Check(ctx context.Context) error
}

// inode identifies a file whatever its names.
type inode struct {
	major, minor uint32
	ino          uint64
}

func inodeOf(stat *unix.Statx_t) inode { return inode{stat.Dev_major, stat.Dev_minor, stat.Ino} }

// walk writes files of a directory tree into an archive. Files are opened relative to
// their directories.
type walk struct {
	ctx  context.Context
	save *pax.Saver
	// dry leaves out data, and writes nothing.
	dry bool
	// links are the first names of files that have several.
	links map[inode]string
}

func newWalk(ctx context.Context, w *pax.Writer) *walk {
	dry := w == nil
	if dry {
		w = pax.NewWriter(io.Discard)
	}
	s := pax.NewSaver(w)
	s.Keep = keepXattr
	return &walk{ctx: ctx, save: s, dry: dry, links: map[inode]string{}}
}

// openDir opens a directory by its path on the host.
func openDir(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// open opens a file or directory of dir by its name.
func open(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// names lists a directory in order, without what stages of dead imports have left at its top.
func names(dir *os.File) ([]string, error) {
	list, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	return slices.DeleteFunc(list, func(n string) bool { return strings.HasPrefix(n, StagePrefix) }), nil
}

// stat looks at a file of dir.
func stat(dir *os.File, name string) (*unix.Statx_t, error) {
	s := new(unix.Statx_t)
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := unix.Statx(int(dir.Fd()), name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, s); err != nil {
		return nil, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return s, nil
}

// directory writes the entry of a directory.
func (w *walk) directory(f *os.File, name string, s *unix.Statx_t, opaque bool) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	h, err := header(name, s)
	if err != nil {
		return err
	}
	h.Opaque, h.Flags = opaque, 0
	return w.save.Directory(f, h)
}

// file writes a file that is no directory.
func (w *walk) file(dir *os.File, n, name string, s *unix.Statx_t) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	h, err := header(name, s)
	if err != nil {
		return err
	}
	if s.Nlink > 1 {
		if first, known := w.links[inodeOf(s)]; known {
			return w.save.W.Header(&pax.Header{Name: name, Type: pax.HardLink, Link: first})
		}
		w.links[inodeOf(s)] = name
	}
	if h.Type != pax.Regular {
		return w.save.Special(dir, n, h)
	}
	f, err := open(dir, n, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.regular(f, h, s)
}

// regular writes a regular file that is open.
func (w *walk) regular(f *os.File, h *pax.Header, s *unix.Statx_t) error {
	if w.dry {
		_, err := w.save.Opened(f)
		return err
	}
	return w.save.Regular(f, h, s)
}

// whiteout writes that there is no file of this name any more.
func (w *walk) whiteout(name string) error {
	return w.save.W.Header(&pax.Header{Name: name, Type: pax.Whiteout})
}

// header is the header of a file, if it is of a kind that can be carried.
func header(name string, s *unix.Statx_t) (*pax.Header, error) {
	h, err := pax.NewHeader(name, s)
	switch {
	case err != nil:
		return nil, err
	case h.Type == pax.Char || h.Type == pax.Block:
		return nil, fmt.Errorf("a device node %w: remove it, or use --ignore-rootfs", ErrUnsupported)
	case h.Flags&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0:
		return nil, fmt.Errorf("a file that is immutable or append-only (chattr(1)) %w: make it a plain one, or use --ignore-rootfs", ErrUnsupported)
	}
	return h, nil
}

// tree writes a directory and all that is in it, as far as it lies on the same mount.
func (w *walk) tree(dir *os.File, name string, s *unix.Statx_t, opaque bool) error {
	if err := w.directory(dir, name, s, opaque); err != nil {
		return err
	}
	list, err := names(dir)
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := w.below(dir, n, path.Join(name, n), s.Mnt_id); err != nil && !w.passed(err) {
			return in(n, err)
		}
	}
	return nil
}

// below writes one name of a directory, and all below it.
func (w *walk) below(dir *os.File, n, name string, mount uint64) error {
	s, err := stat(dir, n)
	if err != nil {
		return err
	}
	if s.Mnt_id != mount {
		return nil // of another filesystem
	}
	if s.Mode&unix.S_IFMT != unix.S_IFDIR {
		return w.file(dir, n, name, s)
	}
	f, err := open(dir, n, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.tree(f, name, s, false)
}

// passed tells whether an error is of a file that has gone, or become another, while a
// check looked at it.
func (w *walk) passed(err error) bool {
	return w.dry && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP))
}

// pathError tells of an error with a file beneath a directory.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return "/" + e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// in puts a directory's or file's name in front of an error's path.
func in(name string, err error) error {
	var at *pathError
	if errors.As(err, &at) {
		return &pathError{path.Join(name, at.path), at.err}
	}
	return &pathError{name, err}
}

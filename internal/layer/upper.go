package layer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// Upper is the upper directory of an overlay: what is changed against the lower ones.
type Upper struct {
	// Dir is the upper directory, Merged where the overlay is mounted. It is asked for what the
	// upper directory refers to in the lower ones: renamed directories (overlayfs' option
	// redirect_dir) and files of which only the attributes have changed (metacopy).
	Dir, Merged string
}

// Save implements Changes.
func (c Upper) Save(ctx context.Context, w *pax.Writer, prefix string) error {
	dir, err := openDir(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	merged, err := openDir(c.Merged)
	if err != nil {
		return err
	}
	defer merged.Close()
	u := &upperWalk{walk: newWalk(ctx, w), prefix: prefix, merged: merged}
	s, err := stat(dir, "")
	if err == nil {
		err = u.dir(dir, ".", s)
	}
	if err != nil {
		return fmt.Errorf("changes of the root filesystem %s: %w", c.Merged, err)
	}
	return nil
}

// Check implements Changes.
func (c Upper) Check(ctx context.Context) error { return c.Save(ctx, nil, "files") }

// upperWalk is a walk through an upper directory.
type upperWalk struct {
	*walk
	prefix string
	merged *os.File
}

// mark reads one of overlayfs' marks on a file, "" if it has none. An overlay has them in the one
// or in the other namespace (mount option userxattr).
func mark(get func(attr string, b []byte) (int, error), name string) (string, error) {
	b := make([]byte, 4096)
	for _, space := range []string{"trusted.overlay.", "user.overlay."} {
		n, err := get(space+name, b)
		switch {
		case err == nil:
			// Of metacopy the value may be empty: that it is there counts.
			return "=" + string(b[:n]), nil
		case !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP):
			return "", fmt.Errorf("read overlayfs' mark %s: %w", name, err)
		}
	}
	return "", nil
}

// marks reads marks of an open file.
func marks(f *os.File) func(string, []byte) (int, error) {
	return func(attr string, b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), attr, b) }
}

// dir writes a directory of the upper one, called name from the root.
func (u *upperWalk) dir(f *os.File, name string, s *unix.Statx_t) error {
	redirect, err := mark(marks(f), "redirect")
	if err != nil {
		return err
	}
	if redirect != "" {
		return u.renamed(name)
	}
	opaque, err := mark(marks(f), "opaque")
	if err != nil {
		return err
	}
	if err := u.directory(f, path.Join(u.prefix, name), s, opaque == "=y"); err != nil {
		return err
	}
	list, err := names(f)
	if err != nil {
		return err
	}
	for _, n := range list {
		// "x": files of the directory may be whiteouts by a mark of their own.
		if err := u.entry(f, n, path.Join(name, n), opaque == "=x"); err != nil && !u.passed(err) {
			return in(n, err)
		}
	}
	return nil
}

// entry writes one name of a directory.
func (u *upperWalk) entry(dir *os.File, n, name string, marked bool) error {
	s, err := stat(dir, n)
	if err != nil {
		return err
	}
	full := path.Join(u.prefix, name)
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		if s.Rdev_major == 0 && s.Rdev_minor == 0 {
			return u.whiteout(full)
		}
	case unix.S_IFDIR:
		f, err := open(dir, n, unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer f.Close()
		return u.dir(f, name, s)
	case unix.S_IFREG:
		return u.regularFile(dir, n, name, s, marked)
	}
	return u.file(dir, n, full, s)
}

// regularFile writes a regular file, whose data may be in a lower directory.
func (u *upperWalk) regularFile(dir *os.File, n, name string, s *unix.Statx_t, marked bool) error {
	full := path.Join(u.prefix, name)
	get := func(attr string, b []byte) (int, error) {
		return unix.Lgetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), n), attr, b)
	}
	if marked {
		if white, err := mark(get, "whiteout"); err != nil || white != "" {
			return errors.Join(err, u.whiteout(full))
		}
	}
	copied, err := mark(get, "metacopy")
	if err != nil {
		return err
	}
	if _, linked := u.links[inodeOf(s)]; copied == "" || linked {
		return u.file(dir, n, full, s)
	}
	f, err := u.inMerged(name, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := header(full, s)
	if err != nil {
		return err
	}
	if s.Nlink > 1 {
		u.links[inodeOf(s)] = full
	}
	whole, err := stat(f, "")
	if err != nil {
		return err
	}
	return u.regular(f, h, whole)
}

// renamed writes a directory that comes from another place of the lower ones, with all
// that shows in it.
func (u *upperWalk) renamed(name string) error {
	f, err := u.inMerged(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := stat(f, "")
	if err != nil {
		return err
	}
	return u.tree(f, path.Join(u.prefix, name), s, true)
}

// inMerged opens a file of the mounted overlay.
func (u *upperWalk) inMerged(name string, flags uint64) (*os.File, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(u.merged.Fd()), &fs); err != nil {
		return nil, err
	}
	if fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return nil, fmt.Errorf("its data is in a lower directory, and the overlay is not mounted at %s", u.merged.Name())
	}
	return beneath(u.merged, name, flags)
}

// beneath opens a file below dir, without following links.
func beneath(dir *os.File, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/" + name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

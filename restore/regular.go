package restore

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// creation are the flags of open(2) that were used up when the file was opened,
// and O_ASYNC, which open(2) shows and does not bring about (BUGS there): that is
// for restoreOwners.
const creation = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_ASYNC

func regularKind() fileKind {
	return fileKind{
		record: &specs.Regular{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			return r.regular(rec.(*specs.Regular))
		},
	}
}

func (r *restorer) regular(rec *specs.Regular) (*os.File, error) {
	f, err := r.openNamed(rec.Path, rec.Link, rec.Ghost, int(rec.Flags)&^creation|unix.O_NOCTTY, ofType(unix.S_IFREG, "regular file"))
	if err != nil {
		return nil, err
	}
	if rec.Ghost == 0 {
		if err := sameFile(f, rec); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, setBase(f, &rec.Description, true)
}

// openNamed opens a file by its path; if that was removed, by giving it back for
// a moment to the file that has another name (link), or through the deleted
// file (ghost), which has been made again.
func (r *restorer) openNamed(path, link string, ghost specs.ID, flags int, fits func(*unix.Stat_t) error) (*os.File, error) {
	open := func() (*os.File, error) { return r.reopen.open(path, flags, fits) }
	switch {
	case ghost != 0:
		g, err := r.ghost(ghost)
		if err != nil {
			return nil, err
		}
		if flags&unix.O_TMPFILE == unix.O_TMPFILE {
			if g, err = r.tmpfile(ghost, g); g != nil || err != nil {
				return g, err
			}
			flags &^= unix.O_TMPFILE &^ unix.O_DIRECTORY
			g = r.files.ghosts[ghost]
		}
		fd, err := unix.Openat(int(r.reopen.fds.Fd()), strconv.Itoa(int(g.Fd())), flags|unix.O_CLOEXEC, 0)
		return fileOrError(fd, path, err)
	case link != "":
		if err := unix.Link(link, path); err != nil {
			return nil, fmt.Errorf("link %s to its former name: %w", link, err)
		}
		f, err := open()
		return f, errors.Join(err, unix.Unlink(path))
	}
	return open()
}

// sameFile refuses a file that has shrunk: a mapping beyond its end would kill
// the program.
func sameFile(f *os.File, rec *specs.Regular) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return err
	}
	if stat.Size < rec.Size {
		return fmt.Errorf("%w: has %d bytes, had %d at the checkpoint; restore with the same root filesystem", ErrUnfit, stat.Size, rec.Size)
	}
	return nil
}

// outside runs f on a thread of our own namespaces.
func outside(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// ghost makes a deleted file again: under its name, from which it is removed at
// once, so that it shows as what it was.
func (r *restorer) ghost(id specs.ID) (*os.File, error) {
	if f := r.files.ghosts[id]; f != nil {
		return f, nil
	}
	g, err := get[*specs.Ghost](r, id)
	if err != nil {
		return nil, err
	}
	f, err := makeGhost(g, func(f *os.File) error { return r.fillFile(f, g.Pages) })
	if err != nil {
		return nil, fmt.Errorf("make deleted file %s again: %w", g.Path, err)
	}
	r.files.ghosts[id] = f
	return f, nil
}

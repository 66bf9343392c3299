package layer

import (
	"context"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// Diff is what tells a directory apart from the one that it was a copy of.
//
// Data are compared byte by byte, which takes its time. So Check, which runs while the
// directory may still change, remembers what it found to be equal, and Save compares
// only what has changed since: its inode's ctime, which nobody can set, tells.
type Diff struct {
	Dir, Base string

	equal map[inode]equality
}

// equality is the state in which two files were found to be equal.
type equality struct {
	base  inode
	ctime unix.StatxTimestamp
	size  uint64
}

// Save implements Changes.
func (c *Diff) Save(ctx context.Context, w *pax.Writer, prefix string) error {
	dir, err := openDir(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	base, err := openDir(c.Base)
	if err != nil {
		return fmt.Errorf("base of the root filesystem: %w", err)
	}
	defer base.Close()
	now, then, err := takeCensuses(ctx, dir, base)
	if err == nil {
		d := &diffWalk{walk: newWalk(ctx, w), diff: c, prefix: prefix, now: now, then: then}
		err = d.top(dir, base)
	}
	if err != nil {
		return fmt.Errorf("changes of the root filesystem %s since %s: %w", c.Dir, c.Base, err)
	}
	return nil
}

// Check implements Changes.
func (c *Diff) Check(ctx context.Context) error {
	c.equal = map[inode]equality{}
	return c.Save(ctx, nil, "files")
}

// diffWalk is a walk through two directories at once.
type diffWalk struct {
	*walk
	diff      *Diff
	prefix    string
	now, then *census
}

func (d *diffWalk) top(dir, base *os.File) error {
	s, err := stat(dir, "")
	if err != nil {
		return err
	}
	b, err := stat(base, "")
	if err != nil {
		return err
	}
	// The entry of the top comes in any case: a reader sees by it that there was one.
	if err := d.directory(dir, d.prefix, s, false); err != nil {
		return err
	}
	return d.pair(dir, base, ".", s, b)
}

// pair writes what tells the names of two directories apart.
func (d *diffWalk) pair(dir, base *os.File, name string, s, b *unix.Statx_t) error {
	left, err := names(dir)
	if err != nil {
		return err
	}
	right, err := names(base)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(left))
	for _, n := range left {
		there[n] = true
		if err := d.name(dir, base, n, path.Join(name, n), s, b); err != nil && !d.passed(err) {
			return in(n, err)
		}
	}
	for _, n := range right {
		if !there[n] {
			if err := d.whiteout(path.Join(d.prefix, name, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// name writes one name of a directory, if it has changed, and all that has changed below it.
func (d *diffWalk) name(dir, base *os.File, n, name string, up, down *unix.Statx_t) error {
	full := path.Join(d.prefix, name)
	s, err := stat(dir, n)
	if err != nil {
		return err
	}
	if s.Mnt_id != up.Mnt_id {
		return nil // of another filesystem
	}
	b, err := stat(base, n)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	there := err == nil && b.Mnt_id == down.Mnt_id
	if s.Mode&unix.S_IFMT != unix.S_IFDIR {
		changed := !there || d.now.changed(d.then, name, s)
		if !changed {
			if changed, err = d.differ(dir, base, n, s, b); err != nil {
				return err
			}
		}
		if !changed {
			return nil
		}
		return d.file(dir, n, full, s)
	}
	f, err := open(dir, n, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	if !there || b.Mode&unix.S_IFMT != unix.S_IFDIR {
		return d.tree(f, full, s, true)
	}
	g, err := open(base, n, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer g.Close()
	// All directories on the way have an entry, so that a reader need not ask the
	// base for the parents of what it makes.
	if err := d.directory(f, full, s, false); err != nil {
		return err
	}
	return d.pair(f, g, name, s, b)
}

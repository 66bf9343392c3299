package layer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// tick is longer than the steps of an inode's times: a file that was changed shorter ago may
// change once more without its times.
const tick = 50 * time.Millisecond

// differ tells whether a file that is no directory is another than the one of the base.
func (d *diffWalk) differ(dir, base *os.File, n string, s, b *unix.Statx_t) (bool, error) {
	if s.Mode != b.Mode || s.Uid != b.Uid || s.Gid != b.Gid || s.Mtime != b.Mtime ||
		s.Rdev_major != b.Rdev_major || s.Rdev_minor != b.Rdev_minor {
		return true, nil
	}
	if inodeOf(s) == inodeOf(b) {
		return false, nil
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		left, err := d.special(dir, n, s)
		if err != nil {
			return false, err
		}
		right, err := d.special(base, n, b)
		return err != nil || left.Link != right.Link || !slices.Equal(left.Xattrs, right.Xattrs), err
	}
	if s.Size != b.Size {
		return true, nil
	}
	if known, ok := d.diff.equal[inodeOf(s)]; ok && known == (equality{inodeOf(b), s.Ctime, s.Size}) {
		return false, nil
	}
	equal, err := d.compare(dir, base, n)
	if err != nil || !equal {
		return true, err
	}
	if at := time.Unix(s.Ctime.Sec, int64(s.Ctime.Nsec)); d.dry && time.Since(at) > tick {
		d.diff.equal[inodeOf(s)] = equality{inodeOf(b), s.Ctime, s.Size}
	}
	return false, nil
}

// special reads what a link or another file that is not opened has beside its attributes.
func (d *diffWalk) special(dir *os.File, n string, s *unix.Statx_t) (*pax.Header, error) {
	h, err := pax.NewHeader(n, s)
	if err != nil {
		return nil, err
	}
	to := pax.NewSaver(pax.NewWriter(io.Discard))
	to.Keep = keepXattr
	return h, to.Special(dir, n, h)
}

// compare compares the data and extended attributes of two regular files of one size.
func (d *diffWalk) compare(dir, base *os.File, n string) (bool, error) {
	f, err := open(dir, n, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := open(base, n, 0)
	if err != nil {
		return false, err
	}
	defer g.Close()
	left, err := d.save.Opened(f)
	if err != nil {
		return false, err
	}
	right, err := d.save.Opened(g)
	if err != nil {
		return false, err
	}
	if !slices.Equal(left, right) {
		return false, nil
	}
	const piece = 256 << 10
	a, b := make([]byte, piece), make([]byte, piece)
	for {
		if err := d.ctx.Err(); err != nil {
			return false, context.Cause(d.ctx)
		}
		n, err := io.ReadFull(f, a)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, err
		}
		m, other := io.ReadFull(g, b)
		if other != nil && !errors.Is(other, io.EOF) && !errors.Is(other, io.ErrUnexpectedEOF) {
			return false, other
		}
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
}

// census knows which names of a tree are those of one file.
type census struct {
	// first are the first names of files with several, groups all their names.
	first  map[string]string
	groups map[inode][]string
}

// takeCensuses counts the names of both trees.
func takeCensuses(ctx context.Context, dir, base *os.File) (now, then *census, err error) {
	if now, err = takeCensus(ctx, dir); err != nil {
		return nil, nil, err
	}
	then, err = takeCensus(ctx, base)
	return now, then, err
}

func takeCensus(ctx context.Context, dir *os.File) (*census, error) {
	c := &census{first: map[string]string{}, groups: map[inode][]string{}}
	s, err := stat(dir, "")
	if err != nil {
		return nil, err
	}
	top, err := open(dir, ".", unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return c, c.count(ctx, top, ".", s.Mnt_id)
}

func (c *census) count(ctx context.Context, dir *os.File, name string, mount uint64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	list, err := names(dir)
	if err != nil {
		return err
	}
	for _, n := range list {
		s, err := stat(dir, n)
		if os.IsNotExist(err) {
			continue // the tree may still change
		}
		if err != nil {
			return in(n, err)
		}
		full := path.Join(name, n)
		switch {
		case s.Mnt_id != mount:
		case s.Mode&unix.S_IFMT == unix.S_IFDIR:
			f, err := open(dir, n, unix.O_DIRECTORY)
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				return in(n, err)
			}
			err = c.count(ctx, f, full, mount)
			f.Close()
			if err != nil {
				return in(n, err)
			}
		case s.Nlink > 1:
			id := inodeOf(s)
			c.groups[id] = append(c.groups[id], full)
			c.first[full] = c.groups[id][0]
		}
	}
	return nil
}

// changed tells whether a file has other names now than in then: all of them are
// written then, so that they become one file again.
func (c *census) changed(then *census, name string, s *unix.Statx_t) bool {
	if c.first[name] == "" && then.first[name] == "" {
		return false
	}
	if c.first[name] != then.first[name] {
		return true
	}
	group := c.groups[inodeOf(s)]
	for _, other := range group {
		if c.first[other] != then.first[other] {
			return true
		}
	}
	return false
}

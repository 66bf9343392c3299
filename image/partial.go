package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// partial is DIR.partial while it is filled: a locked directory beside the place
// that it will take.
type partial struct {
	directory
	parent directory
	// base is the last element of DIR.
	base string
	done bool
	// old is the image that was replaced, until it is removed.
	old *directory
}

// newPartial makes DIR.partial, empty and locked, or takes over what a dead
// writer left there.
func newPartial(dir string) (*partial, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	if base == string(filepath.Separator) || strings.HasSuffix(base, specs.PartialSuffix) {
		return nil, fmt.Errorf("%s: %w: no image can have this name (choose another)", path, ErrOccupied)
	}
	parent, err := os.OpenFile(filepath.Dir(path), unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	p := &partial{parent: directory{file: parent, path: filepath.Dir(path)}, base: base}
	if err := p.begin(); err != nil {
		return nil, errors.Join(err, p.abort())
	}
	return p, nil
}

// begin fills in the directory. Whatever of it has been made when it fails is
// removed by abort. What stands at DIR is looked at under the lock, which every
// writer that changes it holds.
func (p *partial) begin() error {
	if err := p.take(); err != nil {
		return err
	}
	if err := p.file.Chmod(0o700); err != nil {
		return err
	}
	old, err := p.target()
	if old == nil || err != nil {
		return err
	}
	defer old.close()
	if err := old.replaceable(); err != nil {
		return fmt.Errorf("%w: %w (choose another directory or remove it)", ErrOccupied, err)
	}
	return p.probeExchange()
}

// name is that of DIR.partial in its parent.
func (p *partial) name() string { return p.base + specs.PartialSuffix }

// subdirectory opens a directory in the parent, nil if there is none.
func (p *partial) subdirectory(name string) (*directory, error) {
	path := filepath.Join(p.parent.path, name)
	file, err := p.parent.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s: %w: it is not a directory (choose another name)", path, ErrOccupied)
	case err != nil:
		return nil, err
	}
	return &directory{file: file, path: path}, nil
}

// target opens what stands at DIR: nil if nothing does or an empty directory,
// which a rename replaces. What is not made of the files of an image is refused.
func (p *partial) target() (*directory, error) {
	old, err := p.subdirectory(p.base)
	if old == nil || err != nil {
		return nil, err
	}
	names, err := old.ours()
	if err != nil || len(names) == 0 {
		old.close()
		return nil, err
	}
	return old, nil
}

// take makes and locks DIR.partial. Between the two the writer that had it may
// rename or remove it, so the name is looked up again under the lock. If it fails, what it
// has made is gone again.
func (p *partial) take() (err error) {
	made := false
	defer func() {
		// One that has it already was quicker with the lock than we.
		if err != nil && made && !errors.Is(err, ErrBusy) {
			_ = unix.Unlinkat(p.parent.fd(), p.name(), unix.AT_REMOVEDIR)
		}
	}()
	for {
		err := unix.Mkdirat(p.parent.fd(), p.name(), 0o700)
		made = err == nil
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &fs.PathError{Op: "mkdir", Path: filepath.Join(p.parent.path, p.name()), Err: err}
		}
		d, err := p.subdirectory(p.name())
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		if err := d.lock(); err != nil {
			d.close()
			return err
		}
		same, err := p.leadsTo(d)
		if err != nil || !same {
			d.close()
			if err != nil {
				return err
			}
			continue
		}
		if err := d.mine(); err != nil {
			d.close()
			return err
		}
		p.directory = *d
		return nil
	}
}

// leadsTo tells whether the name DIR.partial leads to d.
func (p *partial) leadsTo(d *directory) (bool, error) {
	var byName, byFD unix.Stat_t
	if err := unix.Fstat(d.fd(), &byFD); err != nil {
		return false, &fs.PathError{Op: "fstat", Path: d.path, Err: err}
	}
	err := unix.Fstatat(p.parent.fd(), p.name(), &byName, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	return byName.Dev == byFD.Dev && byName.Ino == byFD.Ino, nil
}

// mine empties a directory that a dead writer left, if it was one of ours: in a
// parent that others may write, they could have put their own in its place.
func (d *directory) mine() error {
	var stat unix.Stat_t
	if err := unix.Fstat(d.fd(), &stat); err != nil {
		return &fs.PathError{Op: "fstat", Path: d.path, Err: err}
	}
	if int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: %w: it belongs to user %d (remove it or choose another directory)", d.path, ErrOccupied, stat.Uid)
	}
	return d.empty()
}

// probeExchange finds out before the checkpoint, not after it, whether the
// filesystem can exchange two names (renameat2(2), RENAME_EXCHANGE).
func (p *partial) probeExchange() error {
	names := [2]string{"probe-a", "probe-b"}
	for _, name := range names {
		file, err := p.create(name)
		if err != nil {
			return err
		}
		file.Close()
	}
	err := unix.Renameat2(p.fd(), names[0], p.fd(), names[1], unix.RENAME_EXCHANGE)
	if err != nil {
		return fmt.Errorf("%s: the filesystem cannot exchange the old image for a new one: %w (remove the old one first)",
			filepath.Join(p.parent.path, p.base), err)
	}
	return p.empty()
}

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// publish gives DIR.partial its name. An older image is exchanged for it in one
// step; abort removes it then, which may take as long as it is large. With durable
// set the parent directory is synced, so that the new name survives a crash
// before the old image goes.
func (p *partial) publish(durable bool) (replaced bool, err error) {
	old, err := p.target()
	if err != nil {
		return false, err
	}
	var flags uint
	if old != nil {
		// After the exchange the old image bears the name DIR.partial: locked,
		// it is no prey for the next writer until we have removed it.
		if err := old.lock(); err != nil {
			old.close()
			return false, err
		}
		flags = unix.RENAME_EXCHANGE
	}
	if err := p.rename(flags); err != nil {
		if old != nil {
			old.close()
		}
		return false, err
	}
	p.done, p.old = true, old
	if durable {
		if err := p.parent.file.Sync(); err != nil {
			return old != nil, fmt.Errorf("sync %s: %w (the image is in place but may not survive a crash)", p.parent.path, err)
		}
	}
	return old != nil, nil
}

// rename moves DIR.partial to DIR. Without RENAME_EXCHANGE the kernel lets a
// directory take no other place than a free one or an empty directory's.
func (p *partial) rename(flags uint) error {
	rename := func() error {
		if flags == 0 {
			return unix.Renameat(p.parent.fd(), p.name(), p.parent.fd(), p.base)
		}
		return unix.Renameat2(p.parent.fd(), p.name(), p.parent.fd(), p.base, flags)
	}
	err := retry(rename)
	if err == nil {
		return nil
	}
	path := filepath.Join(p.parent.path, p.base)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%s: %w: it came to be while the image was written: %w", path, ErrOccupied, err)
	}
	return &fs.PathError{Op: "rename", Path: path, Err: err}
}

// chill drops the page cache of the image that is about to be replaced, which takes a part of the time
// of its removal and can be done while the disk is waited for: the image is on disk, and stays there.
func (p *partial) chill() {
	old, err := p.target()
	if old == nil || err != nil {
		return // publish will tell
	}
	defer old.close()
	names, _ := old.names()
	for _, name := range names {
		if file, _, err := old.open(name); err == nil {
			_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
			file.Close()
		}
	}
}

// discard removes the old image, which the exchange named DIR.partial.
func (p *partial) discard() error {
	if p.old == nil {
		return nil
	}
	err := p.old.empty()
	if err == nil {
		err = p.unlink()
	}
	err = errors.Join(err, p.old.close())
	p.old = nil
	if err != nil {
		return fmt.Errorf("remove the replaced image: %w", err)
	}
	return nil
}

// unlink removes the empty directory DIR.partial.
func (p *partial) unlink() error {
	err := unix.Unlinkat(p.parent.fd(), p.name(), unix.AT_REMOVEDIR)
	if err != nil {
		return &fs.PathError{Op: "rmdir", Path: filepath.Join(p.parent.path, p.name()), Err: err}
	}
	return nil
}

// abort removes DIR.partial unless it was published, and the image that was
// replaced if it was, and closes the directories. A second call does nothing.
func (p *partial) abort() error {
	errs := []error{p.discard()}
	if p.file != nil {
		if !p.done {
			err := p.empty()
			if err == nil {
				err = p.unlink()
			}
			errs = append(errs, err)
		}
		errs = append(errs, p.close())
		p.file = nil
	}
	if p.parent.file != nil {
		errs = append(errs, p.parent.close())
		p.parent.file = nil
	}
	p.done = true
	return errors.Join(errs...)
}

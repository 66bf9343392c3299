package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// creation are the flags of open(2) that were used up when the file was opened.
const creation = unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC

func regularKind() fileKind {
	return fileKind{
		record: &specs.Regular{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			return r.regular(rec.(*specs.Regular))
		},
	}
}

func (r *restorer) regular(rec *specs.Regular) (*os.File, error) {
	path := rec.Path
	if rec.Ghost != 0 {
		g, err := r.ghost(rec.Ghost)
		if err != nil {
			return nil, err
		}
		path = fmt.Sprintf("/proc/self/fd/%d", g.Fd())
	}
	flags := int(rec.Flags)&^creation | unix.O_CLOEXEC | unix.O_NOCTTY
	var f *os.File
	open := func() error {
		fd, err := unix.Open(path, flags, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), rec.Path)
		return nil
	}
	var err error
	if rec.Ghost != 0 {
		// Our own descriptor is seen through our own /proc only.
		err = outside(open)
	} else {
		err = open()
	}
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

// sameFile refuses a file that has shrunk: a mapping beyond its end would kill
// the program.
func sameFile(f *os.File, rec *specs.Regular) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%w: is no regular file any more", ErrUnfit)
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

// makeGhost makes the file and removes its name. If something else has the name
// now, the two are exchanged for a moment.
func makeGhost(g *specs.Ghost, fill func(*os.File) error) (*os.File, error) {
	name, taken := g.Path, false
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EEXIST) {
		name, taken = fmt.Sprintf("%s.%d.rethaw", g.Path, os.Getpid()), true
		fd, err = unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), g.Path)
	steps := []func() error{
		func() error { return fill(f) },
		func() error { return unix.Ftruncate(fd, g.Size) },
		func() error { return unix.Fchown(fd, int(g.UID), int(g.GID)) },
		func() error { return unix.Fchmod(fd, g.Mode&0o7777) },
		func() error {
			return unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(g.Atime), unix.NsecToTimeval(g.Mtime)})
		},
	}
	if taken {
		steps = append(steps, func() error {
			return unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, g.Path, unix.RENAME_EXCHANGE)
		})
	}
	steps = append(steps, func() error { return unix.Unlink(g.Path) })
	if taken {
		steps = append(steps, func() error { return unix.Rename(name, g.Path) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

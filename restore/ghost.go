package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// makeGhost makes a deleted file or directory and removes its name. If
// something else has the name now, the two are exchanged for a moment.
func makeGhost(g *specs.Ghost, fill func(*os.File) error) (*os.File, error) {
	name, taken := g.Path, false
	f, err := createGhost(g, name)
	if errors.Is(err, unix.EEXIST) {
		name, taken = fmt.Sprintf("%s.%d.rethaw", g.Path, os.Getpid()), true
		f, err = createGhost(g, name)
	}
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	isDir := g.Mode&unix.S_IFMT == unix.S_IFDIR
	var steps []func() error
	if !isDir {
		steps = append(steps, func() error { return fill(f) }, func() error { return unix.Ftruncate(fd, g.Size) })
	}
	steps = append(steps,
		func() error { return unix.Fchown(fd, int(g.UID), int(g.GID)) },
		func() error { return unix.Fchmod(fd, g.Mode&0o7777) })
	if taken {
		steps = append(steps, func() error {
			return unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, g.Path, unix.RENAME_EXCHANGE)
		})
	}
	steps = append(steps, func() error {
		if isDir {
			return unix.Rmdir(g.Path)
		}
		return unix.Unlink(g.Path)
	})
	if taken {
		steps = append(steps, func() error { return unix.Rename(name, g.Path) })
	}
	steps = append(steps, func() error { return setTimes(fd, g.Atime, g.Mtime) })
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// createGhost makes an empty file or directory at a free name.
func createGhost(g *specs.Ghost, name string) (*os.File, error) {
	if g.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := unix.Mkdir(name, 0o700); err != nil {
			return nil, err
		}
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), g.Path), nil
	}
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), g.Path), nil
}

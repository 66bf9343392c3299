package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// makeGhost makes a deleted file or directory and removes its name. If
// something else has the name now, the two are exchanged for a moment.
func makeGhost(g *specs.Ghost, fill func(*os.File) error) (*os.File, error) {
	name, taken := g.Path, false
	// Its directory may be gone too.
	parents, err := makeParents(filepath.Dir(g.Path))
	if err != nil {
		return nil, err
	}
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
		if g.TmpFlags != 0 {
			return nil // it never had a name
		}
		if isDir {
			return unix.Rmdir(g.Path)
		}
		return unix.Unlink(g.Path)
	})
	if taken {
		steps = append(steps, func() error { return unix.Rename(name, g.Path) })
	}
	for _, dir := range slices.Backward(parents) {
		steps = append(steps, func() error { return unix.Rmdir(dir) })
	}
	steps = append(steps, func() error { return setTimes(fd, g.Atime, g.Mtime) })
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// makeParents makes the directories of a path that are missing, and returns
// them, the outermost first.
func makeParents(dir string) ([]string, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(dir, &stat); err == nil || dir == "/" || dir == "." {
		return nil, nil
	}
	made, err := makeParents(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	return append(made, dir), unix.Mkdir(dir, 0o700)
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
	if g.TmpFlags != 0 {
		fd, err := unix.Open(filepath.Dir(name), int(g.TmpFlags)&^creation|unix.O_CLOEXEC, 0o600)
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

// tmpfile gives the description by which a file without a name was made again,
// once; nil if it was made otherwise.
func (r *restorer) tmpfile(id specs.ID, g *os.File) (*os.File, error) {
	rec, err := get[*specs.Ghost](r, id)
	if err != nil || rec.TmpFlags == 0 || r.files.tmpTaken[id] {
		return nil, err
	}
	if r.files.tmpTaken == nil {
		r.files.tmpTaken = map[specs.ID]bool{}
	}
	r.files.tmpTaken[id] = true
	fd, err := unix.FcntlInt(g.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), rec.Path), nil
}

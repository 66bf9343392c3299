package restore

import (
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreFS gives every task its root, working directory and umask.
func (r *restorer) restoreFS() error {
	for _, t := range r.made {
		if t.ghost || t.rec.FS == 0 || t.rec.State == "zombie" {
			continue
		}
		fs, err := get[*specs.FS](r, t.rec.FS)
		if err != nil {
			return err
		}
		// The directory first: it may lie outside the root, and chroot(2) leaves
		// it alone.
		if err := r.changeDirectory(t, fs); err != nil {
			return taskError("change directory to "+fs.Cwd, t, err)
		}
		if fs.Root != "/" && fs.Root != "" {
			if err := r.path(t, unix.SYS_CHROOT, fs.Root); err != nil {
				return taskError("chroot to "+fs.Root, t, err)
			}
		}
		if _, err := r.call(t, unix.SYS_UMASK, uint64(fs.Umask)); err != nil {
			return err
		}
	}
	return nil
}

// changeDirectory gives a task its working directory; one that was removed is
// made again.
func (r *restorer) changeDirectory(t *task, fs *specs.FS) error {
	if fs.Ghost == 0 {
		return r.path(t, unix.SYS_CHDIR, fs.Cwd)
	}
	var g *os.File
	err := r.within(func() error {
		var err error
		g, err = r.ghost(fs.Ghost)
		return err
	})
	if err != nil {
		return err
	}
	numbers, err := r.send(t, []*os.File{g})
	if err != nil {
		return err
	}
	if _, err := r.call(t, unix.SYS_FCHDIR, uint64(numbers[0])); err != nil {
		return err
	}
	_, err = r.call(t, unix.SYS_CLOSE, uint64(numbers[0]))
	return err
}

// path makes a system call whose only argument is a path.
func (r *restorer) path(t *task, nr uint64, path string) error {
	data, at := t.arena.Data()
	if len(path) >= unix.PathMax {
		return unix.ENAMETOOLONG
	}
	copy(data, path+"\x00")
	_, err := r.call(t, nr, at)
	return err
}

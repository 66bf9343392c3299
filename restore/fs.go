package restore

import (
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
		if err := r.path(t, unix.SYS_CHDIR, fs.Cwd); err != nil {
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

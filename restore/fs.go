package restore

import (
	"fmt"
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
		if err := r.changeFS(t, fs); err != nil {
			return taskError("restore directories", t, err)
		}
	}
	return nil
}

// changeFS changes them. The directory comes first: it may lie outside the root, and
// chroot(2) leaves it alone.
func (r *restorer) changeFS(t *task, fs *specs.FS) error {
	if len(fs.Cwd) >= unix.PathMax || len(fs.Root) >= unix.PathMax {
		return unix.ENAMETOOLONG
	}
	data, at := t.arena.Data()
	var b batch
	if fs.Ghost != 0 {
		if err := r.changeToGhost(t, fs); err != nil {
			return fmt.Errorf("change directory to %s: %w", fs.Cwd, err)
		}
	} else {
		copy(data, fs.Cwd+"\x00")
		b.add("change directory to "+fs.Cwd, unix.SYS_CHDIR, at)
	}
	if fs.Root != "/" && fs.Root != "" {
		copy(data[unix.PathMax:], fs.Root+"\x00")
		b.add("chroot to "+fs.Root, unix.SYS_CHROOT, at+unix.PathMax)
	}
	b.add("set umask", unix.SYS_UMASK, uint64(fs.Umask))
	return b.run(t, t.threads[0])
}

// changeToGhost makes a directory that was removed again, as the working one.
func (r *restorer) changeToGhost(t *task, fs *specs.FS) error {
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

package restore

import (
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// procFileKind opens files of procfs, sysfs and cgroups by their path. Those of
// tasks exist only when the tasks do: they are opened late, and in a task.
func procFileKind() fileKind {
	return fileKind{
		record: &specs.ProcFile{},
		inTask: true,
		make: func(r *restorer, t *task, fd int32, rec specs.File) error {
			p := rec.(*specs.ProcFile)
			data, at := t.arena.Data()
			copy(data, p.Path+"\x00")
			if len(p.Path) >= unix.PathMax || strings.ContainsRune(p.Path, 0) {
				return unix.ENAMETOOLONG
			}
			flags := uint64(p.Flags)&^creation | unix.O_CLOEXEC
			n, err := r.call(t, unix.SYS_OPENAT, uint64(0xffffffffffffff9c), at, flags, 0)
			if err != nil {
				return err
			}
			if p.Position != 0 {
				if _, err := r.call(t, unix.SYS_LSEEK, uint64(n), uint64(p.Position), unix.SEEK_SET); err != nil {
					return err
				}
			}
			return r.moveFD(t, int32(n), fd)
		},
	}
}

// moveFD renames a descriptor of a task.
func (r *restorer) moveFD(t *task, from, to int32) error {
	if from == to {
		return nil
	}
	if _, err := r.call(t, unix.SYS_DUP3, uint64(from), uint64(to), unix.O_CLOEXEC); err != nil {
		return err
	}
	_, err := r.call(t, unix.SYS_CLOSE, uint64(from))
	return err
}

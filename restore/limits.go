package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// limits sets the resource limits that differ.
func (r *restorer) limits(t *task) error {
	now, err := procfs.ReadLimits(t.at)
	if err != nil {
		return err
	}
	for which, want := range t.rec.Limits {
		if which >= len(now) || now[which] == want {
			continue
		}
		if err := r.setLimit(t, which, want); err != nil {
			return fmt.Errorf("limit %d to %d/%d: %w", which, want[0], want[1], err)
		}
	}
	return nil
}

// setLimit has the task set a limit of its own, which it may lower as it likes.
// A hard limit is raised from outside, if we have the right to.
func (r *restorer) setLimit(t *task, which int, limit [2]uint64) error {
	data, at := t.arena.Data()
	putWord(data, limit[0])
	putWord(data[8:], limit[1])
	_, err := r.call(t, unix.SYS_PRLIMIT64, 0, uint64(which), at, 0)
	if err == unix.EPERM {
		return unix.Prlimit(t.at, which, &unix.Rlimit{Cur: limit[0], Max: limit[1]}, nil)
	}
	return err
}

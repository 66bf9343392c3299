package restore

import (
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// installFiles fills the table of descriptors of every task, then has what can
// only be made inside a task be made there, and completes what needs the tables.
func (r *restorer) installFiles() error {
	done := map[specs.ID]*task{}
	for _, t := range r.made {
		if t.ghost || t.rec.State == "zombie" || t.rec.FDs == 0 {
			continue
		}
		if first := done[t.rec.FDs]; first != nil && first.sharesTable(t) {
			continue
		}
		done[t.rec.FDs] = t
		if err := r.install(t); err != nil {
			return taskError("install descriptors", t, err)
		}
	}
	if err := r.makeInTasks(); err != nil {
		return err
	}
	for id, rec := range r.descriptions() {
		k := r.kindOf(rec)
		if k.late == nil {
			continue
		}
		if err := r.completeLate(k, id, rec); err != nil {
			return &Error{"complete file", describe(id, rec), err}
		}
	}
	return nil
}

// completeLate completes a file in the first task that has it, or in the root if
// none has (in flight).
func (r *restorer) completeLate(k *fileKind, id specs.ID, rec specs.File) error {
	if holders := r.files.holders[id]; len(holders) > 0 {
		return k.late(r, holders[0].t, holders[0].fd, rec)
	}
	f := r.files.open[id]
	if f == nil {
		return nil
	}
	numbers, err := r.send(r.root, []*os.File{f})
	if err != nil {
		return err
	}
	if err := k.late(r, r.root, int32(numbers[0]), rec); err != nil {
		return err
	}
	_, err = r.call(r.root, unix.SYS_CLOSE, uint64(numbers[0]))
	return err
}

// sharesTable tells whether two tasks have one table (CLONE_FILES).
func (t *task) sharesTable(o *task) bool { return t.rec.FDs == o.rec.FDs }

// install empties a task's table and fills it. Descriptors arrive at the lowest
// free numbers, 0, 1, 2...; from the last to the first each is moved to its own
// number, which is never lower.
func (r *restorer) install(t *task) error {
	entries, err := r.table(t)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e specs.FD) bool { return r.files.open[e.File] == nil })
	files := make([]*os.File, len(entries))
	top := int32(0)
	for i, e := range entries {
		files[i] = r.files.open[e.File]
		top = max(top, e.Number)
	}
	c, err := r.openChannel(t)
	if err != nil {
		return err
	}
	defer c.ours.Close()
	restoreLimit, err := r.roomFor(t, int(top)+2)
	if err != nil {
		return err
	}
	// The channel goes above all numbers, and everything else away.
	if end := int(top + 1); c.end != end {
		c.calls.add("move channel", unix.SYS_DUP3, uint64(c.end), uint64(end), unix.O_CLOEXEC)
		c.end = end
	}
	c.calls.add("close descriptors", unix.SYS_CLOSE_RANGE, 0, uint64(top), 0)
	c.calls.add("close descriptors", unix.SYS_CLOSE_RANGE, uint64(top)+2, math.MaxUint32, 0)
	numbers, err := c.pass(files, batch{})
	if err != nil {
		return err
	}
	var b batch
	for i := len(entries) - 1; i >= 0; i-- {
		from, to, flag := uint64(numbers[i]), uint64(entries[i].Number), uint64(0)
		what := fmt.Sprintf("place descriptor %d at %d", from, to)
		if entries[i].CloExec {
			flag = unix.O_CLOEXEC
		}
		if from == to {
			if flag != 0 {
				b.add(what, unix.SYS_FCNTL, to, unix.F_SETFD, unix.FD_CLOEXEC)
			}
			continue
		}
		b.add(what, unix.SYS_DUP3, from, to, flag)
		b.add(what, unix.SYS_CLOSE, from)
	}
	b.add("close channel", unix.SYS_CLOSE, uint64(c.end))
	if err := b.run(t, t.threads[0]); err != nil {
		return err
	}
	return restoreLimit()
}

// roomFor raises the limit of open files if n numbers do not fit, and returns what puts it
// back. A table that is full to the hard limit needs more than that for a moment, for
// which we need CAP_SYS_RESOURCE.
func (r *restorer) roomFor(t *task, n int) (func() error, error) {
	limits, err := procfs.ReadLimits(t.at)
	if err != nil {
		return nil, err
	}
	now := limits[unix.RLIMIT_NOFILE]
	if now[0] >= uint64(n) {
		return func() error { return nil }, nil
	}
	wide := max(now[1], uint64(n))
	if err := r.setLimit(t, unix.RLIMIT_NOFILE, [2]uint64{wide, wide}); err != nil {
		return nil, fmt.Errorf("make room for descriptor %d, the limit being %d open files: %w (give the container two more, or restore with CAP_SYS_RESOURCE)", n-2, now[1], err)
	}
	return func() error { return r.setLimit(t, unix.RLIMIT_NOFILE, now) }, nil
}

// makeInTasks makes the descriptions that only a task can make, in the first
// that has them, and gives them to the others.
func (r *restorer) makeInTasks() error {
	for id, rec := range r.descriptions() {
		k := r.kindOf(rec)
		if !k.inTask {
			continue
		}
		holders := r.files.holders[id]
		if len(holders) == 0 {
			return &Error{"open file", describe(id, rec), fmt.Errorf("%w: it can only be made inside a task, and no task has it", ErrUnfit)}
		}
		first := holders[0]
		if err := k.make(r, first.t, first.fd, rec); err != nil {
			return &Error{"open file", describe(id, rec), err}
		}
		if err := r.share(id, first, holders); err != nil {
			return &Error{"share file", describe(id, rec), err}
		}
	}
	return nil
}

// share gives a description that one task has made to all who have it, with the
// right flag on each descriptor.
func (r *restorer) share(id specs.ID, first holder, holders []holder) error {
	pidfd, err := first.t.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(first.fd), 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "shared")
	r.files.open[id] = f
	for _, h := range holders {
		if h != first && h.t.rec.FDs != first.t.rec.FDs {
			numbers, err := r.send(h.t, []*os.File{f})
			if err != nil {
				return err
			}
			if err := r.moveFD(h.t, int32(numbers[0]), h.fd); err != nil {
				return err
			}
		} else if h != first {
			if _, err := r.call(h.t, unix.SYS_DUP3, uint64(first.fd), uint64(h.fd), unix.O_CLOEXEC); err != nil && h.fd != first.fd {
				return err
			}
		}
		if err := r.setCloExec(h, id); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) setCloExec(h holder, id specs.ID) error {
	entries, err := r.table(h.t)
	if err != nil {
		return err
	}
	flag := uint64(0)
	for _, e := range entries {
		if e.Number == h.fd && e.CloExec {
			flag = unix.FD_CLOEXEC
		}
	}
	_, err = r.call(h.t, unix.SYS_FCNTL, uint64(h.fd), unix.F_SETFD, flag)
	return err
}

package restore

import (
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// endTasks ends the helpers, whose children are adopted by that, and the tasks
// that were zombies, each as it ended then. What their parents are told by
// SIGCHLD is taken off again before the pending signals of the image are queued.
func (r *restorer) endTasks() error {
	for _, ghosts := range []bool{false, true} {
		// From the last made to the first: children before parents.
		for i := len(r.made) - 1; i >= 0; i-- {
			t := r.made[i]
			if t.ghost != ghosts || (!t.ghost && t.rec.State != "zombie") {
				continue
			}
			if err := r.end(t); err != nil {
				return taskError("end", t, err)
			}
		}
	}
	if err := r.reapGhosts(); err != nil {
		return err
	}
	if err := r.stopTasks(); err != nil {
		return err
	}
	for _, t := range r.living() {
		if err := r.drain(t); err != nil {
			return taskError("drain signals", t, err)
		}
		if err := r.queue(t, t.threads[0], t.rec.Pending, true); err != nil {
			return taskError("queue signals", t, err)
		}
		if err := r.queue(t, t.threads[0], t.threads[0].rec.Pending, false); err != nil {
			return taskError("queue signals", t, err)
		}
	}
	return nil
}

// living are the made tasks that stay.
func (r *restorer) living() []*task {
	var list []*task
	for _, t := range r.made {
		if !t.ghost && t.rec.State != "zombie" {
			list = append(list, t)
		}
	}
	return list
}

// end has a task end with its wait(2) status.
func (r *restorer) end(t *task) error {
	th := t.leader()
	signal := int(t.rec.ExitCode & 0x7f)
	if signal != 0 {
		if err := unix.Tgkill(t.pid, t.pid, unix.SIGKILL); err != nil {
			return err
		}
		if signal != int(unix.SIGKILL) {
			return r.endBy(t, signal)
		}
	} else {
		calls := []inject.Call{{Nr: unix.SYS_EXIT_GROUP, Args: [6]uint64{uint64(t.rec.ExitCode >> 8)}}}
		// The batch never ends: the thread does.
		if err := t.arena.Run(th, calls, nil); err != nil && !isGone(err) {
			return err
		}
	}
	return r.buried(t)
}

// endBy is for signals other than SIGKILL, which a task must take itself.
func (r *restorer) endBy(t *task, _ int) error { return r.buried(t) }

// buried waits for a task's end and lets the kernel tell its parent.
func (r *restorer) buried(t *task) error {
	th := t.leader()
	deadline := time.Now().Add(ptrace.Patience)
	for time.Now().Before(deadline) {
		stop, stopped, err := th.Poll()
		if isGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case stopped && stop.Kind >= ptrace.Exited:
			return th.Reap()
		case stopped:
			if err := th.Cont(0); err != nil && !isGone(err) {
				return err
			}
		}
		pause := unix.Timespec{Nsec: 30_000}
		_ = unix.Nanosleep(&pause, nil)
	}
	return ptrace.ErrTimeout
}

// reapGhosts has the parents of ghosts wait for them.
func (r *restorer) reapGhosts() error {
	for _, t := range r.made {
		if !t.ghost || t.parent.ghost {
			continue
		}
		if _, err := r.call(t.parent, unix.SYS_WAIT4, uint64(t.rec.PID), 0, unix.WALL, 0); err != nil && err != unix.ECHILD {
			return taskError("reap helper of", t.parent, err)
		}
	}
	return nil
}

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

// coreFlag is set in a status of wait(2) if a core was dumped.
const coreFlag = 0x80

// end has a task end with its wait(2) status.
func (r *restorer) end(t *task) error {
	if !t.ghost {
		if err := r.costume(t); err != nil {
			return err
		}
	}
	// SIGHUP of a terminal that was given up must not end it.
	if err := r.drain(t); err != nil {
		return err
	}
	signal := unix.Signal(t.rec.ExitCode & 0x7f)
	if signal != 0 {
		return r.endBy(t, signal)
	}
	// No signal is blocked in the end, which shows of a zombie too.
	data, at := t.arena.Data()
	clear(data[:8])
	calls := []inject.Call{
		{Nr: unix.SYS_RT_SIGPROCMASK, Args: [6]uint64{unix.SIG_SETMASK, at, 0, 8}},
		{Nr: unix.SYS_EXIT_GROUP, Args: [6]uint64{uint64(t.rec.ExitCode >> 8)}},
	}
	// The batch never ends: the thread does.
	if err := t.arena.Run(t.leader(), calls, nil); err != nil && !isGone(err) {
		return err
	}
	return r.buried(t, 0)
}

// costume gives a task that is about to end what is still seen of a zombie: its
// name and its user.
func (r *restorer) costume(t *task) error {
	data, at := t.arena.Data()
	copy(data, t.rec.Comm+"\x00")
	var b batch
	b.add("set name", unix.SYS_PRCTL, unix.PR_SET_NAME, at)
	gid, err := r.users.gid(t.rec.GID)
	if err != nil {
		return err
	}
	uid, err := r.users.uid(t.rec.UID)
	if err != nil {
		return err
	}
	b.add("set group id", unix.SYS_SETRESGID, gid, gid, gid)
	b.add("set user id", unix.SYS_SETRESUID, uid, uid, uid)
	return b.run(t, t.threads[0])
}

// endBy has a task die of a signal, whose default that must be. A task that is
// not dumpable dumps no core, and the status does not say so.
func (r *restorer) endBy(t *task, signal unix.Signal) error {
	if signal != unix.SIGKILL {
		data, at := t.arena.Data()
		clear(data[:32])
		if _, err := r.call(t, unix.SYS_RT_SIGACTION, uint64(signal), at, 0, 8); err != nil {
			return err
		}
	}
	if t.rec.ExitCode&coreFlag == 0 {
		if _, err := r.call(t, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0); err != nil {
			return err
		}
	}
	if err := t.leader().SetSigMask(0); err != nil {
		return err
	}
	if err := unix.Kill(t.pid, signal); err != nil {
		return err
	}
	return r.buried(t, int(signal))
}

// buried waits for a task's end, letting it take the signal that ends it, and
// lets the kernel tell its parent.
func (r *restorer) buried(t *task, signal int) error {
	th := t.leader()
	deadline := time.Now().Add(ptrace.Patience)
	for time.Now().Before(deadline) {
		stop, stopped, err := th.Poll()
		if isGone(err) && !stopped {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case stopped && stop.Kind >= ptrace.Exited:
			return th.Reap()
		case stopped:
			resume := 0
			if stop.Kind == ptrace.Signal && stop.Signal == signal {
				resume = signal
			}
			if err := th.Cont(resume); err != nil && !isGone(err) {
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

package restore

import (
	"time"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// stopTasks brings tasks into the job control stop that they were in, and has
// their parents take the reports that they had taken. It all happens while we
// trace them: a real parent is told of the stops of a traced child too
// (kernel/exit.c, wait_consider_task).
func (r *restorer) stopTasks() error {
	for i := len(r.made) - 1; i >= 0; i-- {
		t := r.made[i]
		if t.ghost || t.rec.State == "zombie" || (t.rec.State != "stopped" && t.rec.Stop != "continued") {
			continue
		}
		if err := r.stop(t); err != nil {
			return taskError("stop", t, err)
		}
		if t.rec.State == "stopped" && t.rec.Stop == "" {
			if err := r.takeReport(t); err != nil {
				return taskError("take report of", t, err)
			}
		}
		if t.rec.Stop == "continued" {
			if err := unix.Kill(t.pid, unix.SIGCONT); err != nil {
				return taskError("continue", t, err)
			}
			if err := r.retrap(t); err != nil {
				return taskError("continue", t, err)
			}
		}
	}
	return nil
}

// stop has all threads of a task join a group stop.
func (r *restorer) stop(t *task) error {
	signal := t.stopSignal()
	// The signal must find every thread in our hands.
	if err := t.arena.Rest(); err != nil {
		return err
	}
	// A signal that is put in place of another is taken only if not blocked.
	if err := t.leader().SetSigMask(^(uint64(1) << (signal - 1))); err != nil {
		return err
	}
	if err := unix.Kill(t.pid, unix.SIGSTOP); err != nil {
		return err
	}
	for _, th := range t.threads {
		if err := awaitGroup(th.traced, int(signal)); err != nil {
			return err
		}
	}
	return nil
}

// stopSignal is what the task was stopped by, which its parent sees; SIGSTOP if
// it has a handler for that now, or for a task that was continued.
func (t *task) stopSignal() unix.Signal {
	signal := unix.Signal(t.rec.StopSignal)
	for _, h := range t.rec.Handlers {
		if h.Signal == t.rec.StopSignal {
			signal = 0
		}
	}
	if signal == 0 {
		return unix.SIGSTOP
	}
	return signal
}

// awaitGroup resumes a thread until it stands in a group stop. The stop signal
// that it is about to take is turned into the one that had stopped it.
func awaitGroup(th *ptrace.Thread, signal int) error {
	deadline := time.Now().Add(ptrace.Patience)
	resume := 0
	for time.Now().Before(deadline) {
		if err := th.Cont(resume); err != nil {
			return err
		}
		stop, err := th.Wait(ptrace.Patience)
		if err != nil {
			return err
		}
		resume = 0
		switch stop.Kind {
		case ptrace.Group:
			return nil
		case ptrace.Signal:
			resume = signal
		}
	}
	return ptrace.ErrTimeout
}

// takeReport has the parent wait(2) for the stop, as the original had.
func (r *restorer) takeReport(t *task) error {
	if t.parent == nil || t.parent.ghost {
		return nil
	}
	_, err := r.call(t.parent, unix.SYS_WAIT4, uint64(t.rec.PID), 0, unix.WUNTRACED|unix.WNOHANG|unix.WALL, 0)
	if err == unix.ECHILD {
		return nil
	}
	return err
}

// retrap brings the threads of a task that was continued back to a trap.
func (r *restorer) retrap(t *task) error {
	for _, th := range t.threads {
		if _, err := th.traced.Halt(); err != nil {
			return err
		}
	}
	return nil
}

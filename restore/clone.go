package restore

import (
	"errors"
	"fmt"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// A fresh container runs for its runtime as soon as it is created: `runc exec`, of a health check say, may bring strangers
// into it while the tree is being made. They take the numbers that come next, which are often those that we want, and mostly
// they end soon.

// strangerPatience is how long their numbers are waited for, strangerLook how often they are tried.
const (
	strangerPatience = 5 * time.Second
	strangerLook     = 2 * time.Millisecond
)

// taken tells that somebody else has, or takes again and again, a number of the image.
func (r *restorer) taken(pid int32) error {
	if r.img.Header().Host {
		return fmt.Errorf("%w: another process has the number %d of the image; end it, or restore when it has ended", ErrPIDTaken, pid)
	}
	return fmt.Errorf("%w: something else in the container (`runc exec`, a hook) has process number %d of the image; restore again when it has ended", ErrPIDTaken, pid)
}

// setNextPID has the next fork in the container get this number, when it is free.
func (r *restorer) setNextPID(pid int32) error {
	for deadline := time.Now().Add(strangerPatience); ; time.Sleep(strangerLook) {
		err := r.pids.SetNext(int(pid), 0)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		if time.Now().After(deadline) {
			return r.taken(pid)
		}
	}
}

// forked tells which number the last fork got.
func (r *restorer) forked(pid int32) {
	if !r.img.Header().Host {
		r.lastFork = pid
	}
}

// clone runs clone(2) in a task so that the new task gets the number want, and
// returns its host number. A number that follows the last one comes by itself, if nobody else has forked.
func (r *restorer) clone(t *task, want int32, flags uint64) (int, error) {
	deadline := time.Now().Add(strangerPatience)
	for try := 0; ; try++ {
		if try > 0 || r.lastFork == 0 || want != r.lastFork+1 {
			if err := r.setNextPID(want); err != nil {
				return 0, err
			}
		}
		tid, got, err := r.cloneOnce(t, flags)
		if err != nil {
			return 0, err
		}
		if got == want {
			r.forked(want)
			return tid, nil
		}
		if err := r.discard(t, tid, got); err != nil {
			return 0, err
		}
		if time.Now().After(deadline) {
			return 0, r.taken(want)
		}
	}
}

// cloneOnce runs clone(2) and returns the numbers of the new task on the host and in the container.
func (r *restorer) cloneOnce(t *task, flags uint64) (tid int, number int32, err error) {
	calls := []inject.Call{{Nr: unix.SYS_CLONE, Args: [6]uint64{flags}}}
	err = t.arena.Run(t.leader(), calls, func(s ptrace.Stop) error {
		var err error
		switch s.Event {
		case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
			tid, err = t.leader().EventMessage()
		}
		return err
	})
	if err == nil && calls[0].Failed() {
		err = unix.Errno(-calls[0].Ret)
	}
	return tid, int32(calls[0].Ret), err
}

// burial is how long what was made in vain may take to end.
const burial = 20 * time.Second

// discard ends a new task, the child of t, and has t reap it.
func (r *restorer) discard(t *task, tid int, number int32) error {
	r.log.WithField("number", number).Debug("a fork came after somebody else's: again")
	if err := unix.Kill(tid, unix.SIGKILL); err != nil {
		return err
	}
	if err := ptrace.Bury([]*ptrace.Thread{ptrace.Attached(tid)}, burial); err != nil {
		return err
	}
	_, err := r.call(t, unix.SYS_WAIT4, uint64(number), 0, unix.WALL, 0)
	return err
}

// discardThreads has the new threads of t with these numbers end.
func (r *restorer) discardThreads(t *task, numbers map[int32]bool) error {
	r.log.WithField("threads", len(numbers)).Debug("threads came after somebody else's fork: again")
	gate, err := t.gate()
	if err != nil {
		return err
	}
	tids, err := procfs.ListTasks(t.pid)
	if err != nil {
		return err
	}
	var gone []*ptrace.Thread
	for _, tid := range tids {
		status, err := procfs.ReadTaskStatus(t.pid, tid)
		if err != nil {
			return err
		}
		if n := len(status.NSpid); n == 0 || !numbers[int32(status.NSpid[n-1])] {
			continue
		}
		th := ptrace.Attached(tid)
		if _, err := th.AwaitTrap(ptrace.Patience, nil); err != nil {
			return err
		}
		if err := inject.Issue(th, gate, &inject.Call{Nr: unix.SYS_EXIT}); err != nil {
			return err
		}
		if err := th.Cont(0); err != nil {
			return err
		}
		gone = append(gone, th)
	}
	if len(gone) != len(numbers) {
		return fmt.Errorf("%d of %d threads with wrong numbers are there: %w", len(gone), len(numbers), ptrace.ErrGone)
	}
	return ptrace.Bury(gone, burial)
}

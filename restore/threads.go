package restore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// threadFlags are those with which a C library makes a thread, and CLONE_PTRACE: the kernel
// attaches it for us without a stop of its maker.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
	unix.CLONE_SYSVSEM | unix.CLONE_PTRACE

// makeThreads makes the other threads of every task, each with its number.
func (r *restorer) makeThreads() error {
	for _, t := range r.made {
		if err := r.makeThreadsOf(t); err != nil {
			return taskError("make threads", t, err)
		}
	}
	return nil
}

func (r *restorer) makeThreadsOf(t *task) error {
	var wanted []*thread
	for _, th := range t.threads {
		if th.traced == nil {
			wanted = append(wanted, th)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	slices.SortFunc(wanted, func(a, b *thread) int { return int(a.rec.TID) - int(b.rec.TID) })
	if err := t.leader().SetOptions(permittedOptions() &^ unix.PTRACE_O_TRACECLONE); err != nil {
		return err
	}
	err := r.cloneAll(t, wanted)
	// Those that were made must be known whatever has happened, to be ended.
	if err := errors.Join(err, adopt(t, wanted)); err != nil {
		return err
	}
	if err := t.leader().SetOptions(permittedOptions()); err != nil {
		return err
	}
	for _, th := range wanted {
		if _, err := th.traced.AwaitTrap(ptrace.Patience, nil); err != nil {
			return err
		}
	}
	return nil
}

// cloneAll makes threads in the order of their numbers. Of numbers that follow each other only
// the first has to be set, if nobody else forks in the container: those that come after somebody's are made again.
func (r *restorer) cloneAll(t *task, wanted []*thread) error {
	r.lastFork = 0 // what is forked after these threads needs its number set
	deadline := time.Now().Add(strangerPatience)
	for len(wanted) > 0 {
		first := wanted[0].rec.TID
		n := 1
		for n < min(len(wanted), inject.MaxCalls) && wanted[n].rec.TID == first+int32(n) {
			n++
		}
		if err := r.setNextPID(first); err != nil {
			return err
		}
		calls := make([]inject.Call, n)
		for i := range calls {
			calls[i] = inject.Call{Nr: unix.SYS_CLONE, Args: [6]uint64{threadFlags}}
		}
		if err := t.arena.RunToError(t.leader(), calls); err != nil {
			return err
		}
		wrong := map[int32]bool{}
		for i := range calls {
			if calls[i].Failed() {
				return fmt.Errorf("thread %d: %w", first+int32(i), unix.Errno(-calls[i].Ret))
			}
			if got := int32(calls[i].Ret); got != first+int32(i) {
				wrong[got] = true
			}
		}
		// Numbers only grow: all behind the first wrong one are wrong.
		if n -= len(wrong); len(wrong) > 0 {
			if err := r.discardThreads(t, wrong); err != nil {
				return err
			}
		}
		if n > 0 {
			deadline = time.Now().Add(strangerPatience)
		} else if time.Now().After(deadline) {
			return r.taken(first)
		}
		wanted = wanted[n:]
	}
	return nil
}

// adopt finds the new threads by their numbers in the container.
func adopt(t *task, wanted []*thread) error {
	known := map[int]bool{}
	for _, th := range t.threads {
		if th.traced != nil {
			known[th.traced.TID] = true
		}
	}
	byNumber := make(map[int]*thread, len(wanted))
	for _, th := range wanted {
		byNumber[int(th.rec.TID)] = th
	}
	tids, err := procfs.ListTasks(t.pid)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if known[tid] {
			continue
		}
		status, err := procfs.ReadTaskStatus(t.pid, tid)
		if err != nil {
			return err
		}
		if len(status.NSpid) == 0 {
			continue
		}
		if th := byNumber[status.NSpid[len(status.NSpid)-1]]; th != nil {
			th.traced, th.fresh = ptrace.Attached(tid), &status
		}
	}
	for _, th := range wanted {
		if th.traced == nil {
			return fmt.Errorf("thread %d is not there: %w", th.rec.TID, ptrace.ErrGone)
		}
	}
	return nil
}

package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/internal/watchdog"
	"golang.org/x/sys/unix"
)

// frozen is the tree at a standstill: everything in it stands in a ptrace stop.
type frozen struct {
	procs   []*process
	threads map[int]*thread
	// sleeps are the timed system calls that threads were in before the freeze.
	watch  *sleeping.Watch
	sleeps map[int]*sleeping.Sleep
	// remainders stood where such calls write what is left of their time.
	remainders map[int][]byte
	// candidates are the processes that were there before the freeze, and those that
	// came to light meanwhile; known tells who is one of them.
	candidates []int
	known      map[int]bool
	// byPID are procs by their number.
	byPID map[int]*process
	// paused is true as long as the tasks cannot stop, being in the freezer.
	paused bool
	// dog freezes a paused target again if we die; refrozen tells it that this is done.
	dog      *watchdog.Dog
	refrozen func() error
	// watched tells that a watchdog waits; holding is the cgroup that will be frozen for the
	// time of the stops, held while it is, let tells the watchdog that it is not any more.
	watched       bool
	holding, held string
	let           func() error
}

// look sees how long threads have slept, which can be seen only until they are
// interrupted. before are the processes that were there some milliseconds ago, nil if it is longer.
func (f *frozen) look(t *Target, before []int) error {
	pids, err := t.relist(before)
	if err != nil {
		return err
	}
	var tasks []sleeping.Task
	for _, pid := range pids {
		f.candidate(pid)
		tids, err := procfs.ListTasks(pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			tasks = append(tasks, sleeping.Task{PID: pid, TID: tid})
		}
	}
	f.watch.LookAll(tasks, func(t sleeping.Task, s sleeping.Sleep) {
		f.sleeps[t.TID] = &s
		f.remainders[t.TID] = keepRemainder(t.TID, &s)
	})
	return nil
}

// freeze stops every thread of the target. What it has seized is in f even if it
// fails, for release.
func (f *frozen) freeze(ctx context.Context, t *Target) error {
	defer urgent()()
	f.paused = t.Paused && t.Freezer != ""
	if f.paused {
		// Threads of a frozen cgroup cannot stop: they are seized and asked
		// while it is frozen, and thawed into their stops.
		if _, err := f.seizeAll(); err != nil {
			return err
		}
		if err := f.thaw(t.Freezer); err != nil {
			return err
		}
		f.paused = false
		if err := f.awaitAll(); err != nil {
			return err
		}
	}
	if err := f.stopHeld(); err != nil {
		return errors.Join(err, f.giveUp())
	}
	deadline := time.Now().Add(freezePatience)
	settled := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := f.seizeAll()
		if err != nil {
			return err
		}
		if found == 0 && !settled {
			// Who has run on may have forked: once more.
			if settled, err = f.leaveVDSO(); err != nil {
				return err
			}
			if settled {
				continue
			}
		}
		if found == 0 {
			return nil
		}
		if err := f.awaitAll(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("freeze: the tasks fork faster than they can be stopped: %w", ptrace.ErrTimeout)
		}
	}
}

// errStranger tells that a process entered the container while it was frozen.
var errStranger = errors.New("a process entered the container during the checkpoint; try again")

// strangers looks through all processes of the host, which takes long, for one
// of the tree that was not stopped. It runs beside the other steps.
func (f *frozen) strangers(t *Target) error {
	pids, err := t.listPids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if !f.known[pid] {
			return fmt.Errorf("process %d: %w", pid, errStranger)
		}
	}
	return nil
}

// awaitAll waits until every known thread stands still, and adopts the children
// that the kernel has attached.
//
// While the cgroup is held nobody is waited for to the end who does not come: first all others
// are mended. Only when those that are left may wait for somebody who is frozen, a vfork(2) child, or no one has
// stopped for long, is the cgroup thawed. That a processor comes late to a thread is no reason: on a busy
// machine that takes a while.
func (f *frozen) awaitAll() error {
	progress := time.Now()
	for {
		var waiting []*thread
		for _, th := range f.threads {
			if th.stop == (ptrace.Stop{}) {
				waiting = append(waiting, th)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		var late []*thread
		for _, th := range waiting {
			patience := vforkPatience
			if len(late) > 0 {
				patience = 0 // it has had its time
			}
			switch err := f.await(th, patience); {
			case errors.Is(err, errLate):
				late = append(late, th)
			case err != nil:
				return err
			}
		}
		if len(late) < len(waiting) {
			progress = time.Now()
		} else if time.Since(progress) > heldPatience || slices.ContainsFunc(late, inClone) {
			if err := f.loose(); err != nil {
				return err
			}
		}
	}
}

// heldPatience is how long a cgroup is held while no thread of it stops.
const heldPatience = time.Second

// errLate is a thread of a cgroup that is held which has not stopped in time.
var errLate = errors.New("it has not stopped yet")

func (f *frozen) await(th *thread, patience time.Duration) error {
	for vforks := true; ; {
		stop, err := th.traced.AwaitTrap(patience, func(s ptrace.Stop) error { return f.adopt(th, s) })
		switch {
		case errors.Is(err, ptrace.ErrTimeout) && f.held != "":
			return errLate
		case errors.Is(err, ptrace.ErrTimeout) && vforks:
			if err := f.letVforkEnd(th); err != nil {
				return err
			}
			patience, vforks = freezePatience, false
			continue
		case gone(err):
			f.drop(th)
			return nil
		case err != nil:
			return err
		}
		th.stop, th.stopped = stop, monotonic()
		return th.reissue()
	}
}

// reissue mends at once what the stop itself has broken: an epoll_wait that has
// returned EINTR. From then on the thread goes on unharmed if we die.
func (th *thread) reissue() error {
	regs, err := th.traced.Registers()
	if err != nil {
		return err
	}
	th.noteUserPC(&regs)
	if !inject.Reissue(&regs) {
		return nil
	}
	return th.traced.SetRegisters(&regs)
}

// adopt takes in a child that the kernel has attached; it comes to a stop by
// itself.
func (f *frozen) adopt(parent *thread, s ptrace.Stop) error {
	switch s.Event {
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
	default:
		return nil
	}
	tid, err := parent.traced.EventMessage()
	if err != nil {
		return err
	}
	if f.threads[tid] == nil {
		f.threads[tid] = &thread{tid: tid, traced: ptrace.Attached(tid)}
	}
	return nil
}

// drop forgets a thread that ended.
func (f *frozen) drop(th *thread) {
	_ = th.traced.Reap()
	delete(f.threads, th.tid)
	if p := th.process; p != nil {
		p.threads = slices.DeleteFunc(p.threads, func(other *thread) bool { return other == th })
	}
}

// release lets every thread go on. A target that was paused is paused again
// first.
func (f *frozen) release(t *Target) error {
	var errs []error
	if t.Paused && t.Freezer != "" {
		errs = append(errs, f.refreeze(t.Freezer))
	}
	for _, th := range f.threads {
		if err := th.traced.Detach(); err != nil && !gone(err) {
			errs = append(errs, err)
		}
	}
	clear(f.threads)
	return errors.Join(errs...)
}

// gone tells that a task ended while we looked at it.
func gone(err error) bool {
	return err != nil && (errors.Is(err, ptrace.ErrGone) || errors.Is(err, unix.ESRCH) || procfs.Gone(err))
}

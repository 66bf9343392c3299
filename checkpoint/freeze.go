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
	// candidates are the processes that were there before the freeze.
	candidates []int
	// paused is true as long as the tasks cannot stop, being in the freezer.
	paused bool
	// dog freezes a paused target again if we die; refrozen tells it that this is done.
	dog      *watchdog.Dog
	refrozen func() error
	// watched tells that a watchdog waits; held is the cgroup that is frozen for the
	// time of the stops, let tells the watchdog that it is not any more.
	watched bool
	held    string
	let     func() error
}

// look sees how long threads have slept, which can be seen only until they are
// interrupted.
func (f *frozen) look(t *Target) error {
	pids, err := t.listPids()
	if err != nil {
		return err
	}
	f.candidates = pids
	for _, pid := range pids {
		tids, err := procfs.ListTasks(pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			if s, err := f.watch.Look(pid, tid); err == nil {
				f.sleeps[tid] = &s
				f.remainders[tid] = keepRemainder(tid, &s)
			}
		}
	}
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
	if err := f.stopHeld(t); err != nil {
		return errors.Join(err, f.giveUp())
	}
	deadline := time.Now().Add(freezePatience)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := f.seizeAll()
		if err != nil {
			return err
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

// seizeAll seizes and interrupts every thread that is not known yet, and tells
// how many there were.
//
// It goes by the processes that were there before, and their children: whoever
// is seized cannot fork without our knowing. Who enters from outside at
// this very moment is found by strangers.
func (f *frozen) seizeAll() (int, error) {
	found := 0
	for i := 0; i < len(f.candidates); i++ {
		n, err := f.seizeProcess(f.candidates[i])
		if err != nil && !gone(err) {
			return found, err
		}
		found += n
		below, err := children(f.candidates[i])
		if err != nil && !gone(err) {
			return found, err
		}
		for _, pid := range below {
			if !slices.Contains(f.candidates, pid) {
				f.candidates = append(f.candidates, pid)
			}
		}
	}
	return found, nil
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
		if !slices.Contains(f.candidates, pid) {
			return fmt.Errorf("process %d: %w", pid, errStranger)
		}
	}
	return nil
}

func (f *frozen) seizeProcess(pid int) (int, error) {
	tids, err := procfs.ListTasks(pid)
	if err != nil {
		return 0, err
	}
	found := 0
	p := f.process(pid)
	if p == nil {
		p = newProcess(pid)
		if err := p.read(); err != nil {
			return found, err
		}
		f.procs = append(f.procs, p)
		found++
	}
	for _, tid := range tids {
		th := f.threads[tid]
		if p.zombie || (th != nil && th.process == p) {
			continue
		}
		if th == nil {
			if th, err = f.seize(p, tid); err != nil {
				return found, err
			}
			if th == nil || f.threads[tid] == nil {
				continue // it ended before it could stop
			}
		}
		th.process = p
		p.threads = append(p.threads, th)
		found++
	}
	return found, nil
}

// seize takes one thread under control and asks it to stop. It returns nil for
// one that is ending.
func (f *frozen) seize(p *process, tid int) (*thread, error) {
	th := &thread{tid: tid, sleep: f.sleeps[tid], remainder: f.remainders[tid]}
	var err error
	th.traced, err = ptrace.Seize(tid, seizeOptions())
	if errors.Is(err, unix.EPERM) {
		return nil, f.refused(p, tid, err)
	}
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.threads[tid] = th
	if err := th.traced.Interrupt(); err != nil && !gone(err) {
		return nil, err
	}
	if f.paused || f.held != "" {
		return th, nil
	}
	if len(f.threads) <= oneByOne || th.sleep != nil && inject.Breaks(th.sleep.Syscall) {
		// Its call may be about to return EINTR: mend that before anything else.
		return th, f.await(th)
	}
	return th, nil
}

// oneByOne is up to how many threads are stopped one after the other; the stops
// of more overlap, but for those that are known to need mending.
const oneByOne = 64

// freezePatience is how long the tasks may be kept waiting for one that does not
// stop; then all go on.
const freezePatience = 10 * time.Second

// refused explains a thread that may not be seized: it is ending, or somebody
// else traces it.
func (f *frozen) refused(p *process, tid int, err error) error {
	status, serr := procfs.ReadTaskStatus(p.pid, tid)
	if serr != nil {
		return serr
	}
	switch {
	case status.State == 'Z' || status.State == 'X':
		if tid == p.pid {
			return p.read()
		}
		return nil
	case status.TracerPid != 0:
		return p.unsupported(fmt.Sprintf("thread %d", tid), fmt.Sprintf("is traced by process %d", status.TracerPid), "end the debugger first")
	}
	return err
}

func (f *frozen) process(pid int) *process {
	for _, p := range f.procs {
		if p.pid == pid {
			return p
		}
	}
	return nil
}

// awaitAll waits until every known thread stands still, and adopts the children
// that the kernel has attached.
func (f *frozen) awaitAll() error {
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
		for _, th := range waiting {
			if err := f.await(th); err != nil {
				return err
			}
		}
	}
}

func (f *frozen) await(th *thread) error {
	patience := vforkPatience
	for {
		stop, err := th.traced.AwaitTrap(patience, func(s ptrace.Stop) error { return f.adopt(th, s) })
		switch {
		case errors.Is(err, ptrace.ErrTimeout) && f.held != "":
			// It may wait for somebody who is frozen: a vfork(2) child.
			if err := f.loose(); err != nil {
				return err
			}
			continue
		case errors.Is(err, ptrace.ErrTimeout) && patience == vforkPatience:
			if err := f.letVforkEnd(th); err != nil {
				return err
			}
			patience = freezePatience
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
	for _, p := range f.procs {
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

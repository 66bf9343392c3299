package checkpoint

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

// seizeAll seizes and interrupts every thread that is not known yet, and tells
// how many there were.
//
// It goes by the processes that were there before, and their children: whoever
// is seized cannot fork without our knowing. Who enters from outside at
// this very moment is found by strangers.
//
// Where processes fork and end quickly, what counts is to be quick with the newest:
// each child is seized the moment that its parent shows it, the youngest first, before anything is read of
// it; those that have ended are not looked at again.
func (f *frozen) seizeAll() (int, error) {
	found := 0
	for i := 0; i < len(f.candidates); i++ {
		pid := f.candidates[i]
		if p := f.byPID[pid]; p != nil && p.zombie {
			continue
		}
		n, err := f.seizeProcess(pid)
		if gone(err) {
			f.forgetProcess(pid)
			continue
		}
		if err != nil {
			return found, err
		}
		found += n
		below, err := children(pid)
		if err != nil && !gone(err) {
			return found, err
		}
		for _, child := range slices.Backward(below) {
			f.grab(child)
		}
		for _, child := range below {
			f.candidate(child)
		}
	}
	f.candidates = slices.DeleteFunc(f.candidates, func(pid int) bool { return !f.known[pid] })
	return found, nil
}

// forgetProcess takes a process that has ended and been reaped for one that was never there: its
// number may come back.
func (f *frozen) forgetProcess(pid int) {
	delete(f.known, pid)
	if p := f.byPID[pid]; p != nil {
		delete(f.byPID, pid)
		f.procs = slices.DeleteFunc(f.procs, func(other *process) bool { return other == p })
	}
}

// grab seizes the first thread of a process that has just come to light, if it can be. What
// it cannot seize is for seizeProcess to judge.
func (f *frozen) grab(pid int) {
	if f.known[pid] || f.threads[pid] != nil {
		return
	}
	traced, err := ptrace.Seize(pid, seizeOptions())
	if err != nil {
		return
	}
	th := &thread{tid: pid, traced: traced, sleep: f.sleeps[pid], remainder: f.remainders[pid]}
	f.threads[pid] = th
	_ = f.interrupt(pid, th)
}

// interrupt asks a seized thread to stop.
func (f *frozen) interrupt(pid int, th *thread) error {
	if f.held != "" && th.sleep != nil {
		f.watch.Held(pid, th.tid, th.sleep)
	}
	return th.traced.Interrupt()
}

// candidate adds a process to those that are to be stopped, once.
func (f *frozen) candidate(pid int) {
	if !f.known[pid] {
		f.known[pid] = true
		f.candidates = append(f.candidates, pid)
	}
}

func (f *frozen) seizeProcess(pid int) (int, error) {
	tids, err := procfs.ListTasks(pid)
	if err != nil {
		return 0, err
	}
	found := 0
	p := f.byPID[pid]
	if p == nil {
		p = newProcess(pid)
		if err := p.read(); err != nil {
			return found, err
		}
		f.procs = append(f.procs, p)
		f.byPID[pid] = p
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
		if status, serr := procfs.ReadTaskStatus(p.pid, tid); serr == nil && status.TracerPid == unix.Gettid() {
			// The kernel has attached it for us, as the child of one whose event we have
			// not taken yet; it comes to a stop by itself.
			th.traced = ptrace.Attached(tid)
			f.threads[tid] = th
			return th, nil
		}
		return nil, f.refused(p, tid, err)
	}
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.threads[tid] = th
	if err := f.interrupt(p.pid, th); err != nil && !gone(err) {
		return nil, err
	}
	if f.paused || f.held != "" {
		return th, nil
	}
	if len(f.threads) <= oneByOne || th.sleep != nil && inject.Breaks(th.sleep.Syscall) {
		// Its call may be about to return EINTR: mend that before anything else.
		return th, f.await(th, vforkPatience)
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

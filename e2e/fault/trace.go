//go:build amd64

package fault

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// run is one traced run.
type run struct {
	leader   int
	strike   *Strike
	recorder *recorder
	symbols  *symbols
	threads  map[int]*thread
	// times is how often the step of the strike has come.
	times  int
	struck bool
	hung   atomic.Bool
}

// thread is one thread of the program.
type thread struct {
	started, inside bool
	// after is done at the exit of the call that the thread is in, nil for nothing.
	after func(regs *unix.PtraceRegs) bool
}

// loop serves the threads until the program has ended.
func (r *run) loop() (Outcome, error) {
	for {
		var status unix.WaitStatus
		// The program has a process group of its own: this thread may have other children.
		tid, err := unix.Wait4(-r.leader, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Outcome{}, fmt.Errorf("wait for the program: %w", err)
		}
		if status.Exited() || status.Signaled() {
			delete(r.threads, tid)
			if tid == r.leader {
				code := -1
				if status.Exited() {
					code = status.ExitStatus()
				}
				return Outcome{Struck: r.struck, Code: code}, nil
			}
			continue
		}
		if err := r.stopped(tid, status); err != nil && !errors.Is(err, unix.ESRCH) {
			return Outcome{}, err
		}
	}
}

// stopped looks at a stop and lets the thread go on.
func (r *run) stopped(tid int, status unix.WaitStatus) error {
	th := r.threads[tid]
	if th == nil {
		if foreign(tid, r.leader) {
			return unix.PtraceDetach(tid)
		}
		th = &thread{}
		r.threads[tid] = th
	}
	signal := 0
	switch sig := status.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if err := r.syscall(tid, th); err != nil {
			return err
		}
	case sig == unix.SIGTRAP && status.TrapCause() > 0: // a clone
	case sig == unix.SIGSTOP && !th.started && tid != r.leader: // how a new thread begins
	default:
		signal = int(sig)
	}
	th.started = true
	return unix.PtraceSyscall(tid, signal)
}

// foreign tells whether a task is no thread of the program, but a process that shares its memory.
func foreign(tid, leader int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return err == nil && !strings.Contains(string(text), fmt.Sprintf("\nTgid:\t%d\n", leader))
}

// syscall handles the entry or the exit of a system call.
func (r *run) syscall(tid int, th *thread) error {
	th.inside = !th.inside
	if !th.inside {
		return r.leave(tid, th)
	}
	if r.strike != nil && r.struck {
		return nil
	}
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	call, op := regs.Orig_rax, uint64(0)
	if arg, many := operations[call]; many {
		op = [...]uint64{regs.Rdi, regs.Rsi, regs.Rdx}[arg]
	}
	stack := r.symbols.steady(walk(r.leader, &regs))
	key := hash(call, op, stack)
	if r.recorder != nil {
		r.recorder.add(key, call, op, stack)
		return nil
	}
	if key != r.strike.Key {
		return nil
	}
	if r.times++; r.times != r.strike.Nth {
		return nil
	}
	r.struck = true
	return r.hit(tid, th, &regs)
}

// leave finishes what a strike began at the entry.
func (r *run) leave(tid int, th *thread) error {
	after := th.after
	if after == nil {
		return nil
	}
	th.after = nil
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	if after(&regs) {
		return unix.PtraceSetRegs(tid, &regs)
	}
	return nil
}

// hit lets it go wrong; the thread stands at the entry of the call.
func (r *run) hit(tid int, th *thread, regs *unix.PtraceRegs) error {
	s := r.strike
	switch {
	case s.Do != nil:
		s.Do()
	case s.Kill && s.Before:
		return unix.Kill(r.leader, unix.SIGKILL)
	case s.Kill:
		th.after = func(*unix.PtraceRegs) bool { _ = unix.Kill(r.leader, unix.SIGKILL); return false }
	case s.Short:
		count := regs.Rdx
		regs.Rdx = count / 2
		th.after = func(regs *unix.PtraceRegs) bool { regs.Rdx = count; return true }
		return unix.PtraceSetRegs(tid, regs)
	default:
		regs.Orig_rax = ^uint64(0) // no call at all
		th.after = func(regs *unix.PtraceRegs) bool { regs.Rax = uint64(-int64(s.Errno)); return true }
		return unix.PtraceSetRegs(tid, regs)
	}
	return nil
}

package ptrace

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Patience is how long a thread may take to come to a stop. It can be long where
// many containers start at once: forks, execs and exits wait for every task that
// enters a cgroup (cgroup_threadgroup_rwsem).
const Patience = 60 * time.Second

// Thread is a traced thread. Its methods are called on its tracer's thread.
type Thread struct {
	// TID is the thread's number in the tracer's pid namespace.
	TID int
	// back, while the thread is lent, brings it to a stop.
	back func() error
	// idle lets others go on while this one is waited for, nil for nobody.
	idle Idle
}

// Lend tells that the thread runs, in code of ours that waits for orders. What needs it to
// stand still calls back first, once, which has to Halt it.
func (t *Thread) Lend(back func() error) { t.back = back }

// settle has a thread that is lent come back.
func (t *Thread) settle() error {
	back := t.back
	if back == nil {
		return nil
	}
	t.back = nil
	return back()
}

func (t *Thread) error(op string, err error) error { return &Error{Op: op, TID: t.TID, Err: err} }

// do is ptrace(2), which restarts nothing: EINTR does not occur.
func (t *Thread) do(op string, request int, addr, data uintptr) error {
	if request != unix.PTRACE_INTERRUPT {
		if err := t.settle(); err != nil {
			return err
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(t.TID), addr, data, 0, 0)
	if errno != 0 {
		return t.error(op, errno)
	}
	return nil
}

// exchange is a ptrace(2) whose data is memory of ours. The pointer becomes a
// number only in the call itself: a stack that grows moves what it points to.
func (t *Thread) exchange(op string, request int, addr uintptr, data unsafe.Pointer) error {
	if err := t.settle(); err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(t.TID), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return t.error(op, errno)
	}
	return nil
}

// Seize makes tid a traced thread; options are PTRACE_O_*. It does not stop it.
func Seize(tid int, options int) (*Thread, error) {
	t := &Thread{TID: tid}
	if err := t.do("seize", unix.PTRACE_SEIZE, 0, uintptr(options)); err != nil {
		return nil, err
	}
	return t, nil
}

// Attached names a thread that the kernel has attached by itself, as the child
// of a traced one (PTRACE_O_TRACEFORK, VFORK, CLONE).
func Attached(tid int) *Thread { return &Thread{TID: tid} }

// SetOptions replaces the PTRACE_O_* options of a stopped thread.
func (t *Thread) SetOptions(options int) error {
	return t.do("set options of", unix.PTRACE_SETOPTIONS, 0, uintptr(options))
}

// Interrupt asks the thread to stop; Wait tells when it does. It is no longer lent.
func (t *Thread) Interrupt() error {
	t.back = nil
	return t.do("interrupt", unix.PTRACE_INTERRUPT, 0, 0)
}

// Cont lets a stopped thread go on, delivering signal if it is not 0.
func (t *Thread) Cont(signal int) error {
	return t.do("continue", unix.PTRACE_CONT, 0, uintptr(signal))
}

// ContSyscall lets a stopped thread go on to the next entry or exit of a system
// call.
func (t *Thread) ContSyscall(signal int) error {
	return t.do("continue", unix.PTRACE_SYSCALL, 0, uintptr(signal))
}

// Step executes one instruction of a stopped thread, with all signals held back, and leaves it stopped. A thread that ignores
// SIGTRAP does so no longer (force_sig_info_to_task in kernel/signal.c).
func (t *Thread) Step() error {
	mask, err := t.SigMask()
	if err != nil {
		return err
	}
	if err := t.SetSigMask(^uint64(1 << (unix.SIGTRAP - 1))); err != nil {
		return err
	}
	if err := t.do("step", unix.PTRACE_SINGLESTEP, 0, 0); err != nil {
		return err
	}
	stop, err := t.Wait(Patience)
	if err != nil {
		return err
	}
	if stop.Kind != Signal || stop.Signal != int(unix.SIGTRAP) {
		return t.error("step", fmt.Errorf("it stopped by %+v", stop))
	}
	return t.SetSigMask(mask)
}

// Listen leaves a thread in its job control stop, to be woken by SIGCONT.
func (t *Thread) Listen() error { return t.do("listen to", unix.PTRACE_LISTEN, 0, 0) }

// Detach lets the thread go for good.
func (t *Thread) Detach() error { return t.do("detach from", unix.PTRACE_DETACH, 0, 0) }

// EventMessage is what belongs to an Event: the new thread's number, in the
// tracer's pid namespace, after a fork or a clone.
func (t *Thread) EventMessage() (int, error) {
	var msg uint64
	err := t.exchange("ask event message of", unix.PTRACE_GETEVENTMSG, 0, unsafe.Pointer(&msg))
	return int(msg), err
}

// Halt brings the thread to a Trap or Group stop inside the kernel's signal
// path, where registers may be set freely and an interrupted system call is
// restarted by the kernel at release. Signals that are on their way are
// delivered, which at most prepares a handler's frame.
func (t *Thread) Halt() (Stop, error) {
	if err := t.Interrupt(); err != nil {
		return Stop{}, err
	}
	return t.AwaitTrap(Patience, nil)
}

// AwaitTrap waits for the stop that Interrupt asked for. Events of other kinds
// that come before are passed by; onEvent (may be nil) is told of each.
func (t *Thread) AwaitTrap(patience time.Duration, onEvent func(Stop) error) (Stop, error) {
	for {
		stop, err := t.Wait(patience)
		if err != nil {
			return stop, err
		}
		signal := 0
		switch stop.Kind {
		case Trap, Group:
			return stop, nil
		case Signal:
			signal = stop.Signal
		case Event:
			if onEvent != nil {
				if err := onEvent(stop); err != nil {
					return stop, err
				}
			}
			// An interrupt that was asked for before an event is spent by
			// some kernels' event stop: ask again.
			if err := t.Interrupt(); err != nil {
				return stop, err
			}
		}
		if err := t.Cont(signal); err != nil {
			return stop, err
		}
	}
}

// AwaitSyscall lets the thread run to the next entry or exit of a system call.
func (t *Thread) AwaitSyscall() error {
	signal := 0
	for {
		if err := t.ContSyscall(signal); err != nil {
			return err
		}
		stop, err := t.Wait(Patience)
		if err != nil {
			return err
		}
		switch stop.Kind {
		case Syscall:
			return nil
		case Signal:
			// Everything that can be blocked is; what comes is SIGSTOP, which
			// turns into a Group stop, or a fault of the code that runs.
			if stop.Signal != int(unix.SIGSTOP) && stop.Signal != int(unix.SIGCONT) {
				return t.error("run system call in", fmt.Errorf("unexpected signal %d", stop.Signal))
			}
			signal = stop.Signal
		default:
			signal = 0
		}
	}
}

package sleeping

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Call is a system call as the registers of a stopped thread show it.
type Call struct {
	NR   int // orig_rax
	Args [6]uint64
	Ret  int64 // rax: what it returned, or would have
	SP   uint64
	// Switches counts how often the thread has gone to sleep up to its stop (voluntary_ctxt_switches of proc_pid_status(5)).
	Switches uint64
}

// Stopped is told what the registers of the thread (CallOf) and its count of switches are after the stop, and
// returns its sleep as it was at the moment of the interruption: stopped, in
// CLOCK_MONOTONIC, a time not later than that.
//
// before is what Look gave, nil if it gave an error. If the thread has moved on
// to another sleep since then, that began later than Look, which bounds what it
// has slept: the whole timeout is left, apart from the time that the stop took.
// ErrUntimed is returned if the thread is in no timed call now.
func (w *Watch) Stopped(pid, tid int, before *Sleep, call Call, stopped int64) (Sleep, error) {
	s, err := w.stopped(thread{pid, tid}, before, call, stopped)
	if err != nil {
		return Sleep{}, fmt.Errorf("find the rest of the sleep of thread %d of task %d: %w", tid, pid, err)
	}
	return s, nil
}

func (w *Watch) stopped(t thread, before *Sleep, call Call, stopped int64) (Sleep, error) {
	same := before != nil && before.Args == call.Args &&
		(call.NR == before.Syscall || call.NR == unix.SYS_RESTART_SYSCALL && before.Restarted)
	if same && !before.held {
		// The stop itself is one more.
		same = call.Switches <= before.Switches+1
	}
	var s Sleep
	if same {
		s = *before
	} else {
		nr := call.NR
		if nr == unix.SYS_RESTART_SYSCALL {
			if before == nil || before.Args != call.Args {
				return Sleep{}, ErrHidden
			}
			nr = before.Syscall
		}
		sh, ok := lookUp(nr, call.Args)
		if !ok {
			return Sleep{}, fmt.Errorf("system call %d: %w", nr, ErrUntimed)
		}
		s = Sleep{Syscall: nr, Name: sh.name, Args: call.Args, Absolute: sh.absolute, Clock: sh.clock,
			Restart: sh.restart, Since: stopped, Deadline: -1, Precision: Bound}
		var err error
		if s.Timeout, err = t.timeout(sh, call.Args); err != nil {
			return Sleep{}, err
		}
		if s.Timeout >= 0 && !s.Absolute {
			s.Deadline = add(stopped, s.Timeout)
		}
	}
	s.Looked, s.Left = stopped, s.LeftAt(stopped)
	if s.Timeout < 0 || s.Absolute {
		s.Precision = Exact
		return s, nil
	}
	sh, _ := lookUp(s.Syscall, call.Args)
	addr, ok := sh.written(call)
	if !ok {
		err := w.block(t, &s, sh, call, stopped)
		return s, err
	}
	left, err := t.duration(addr, sh.form)
	if err != nil {
		return Sleep{}, err
	}
	s.Left, s.Deadline, s.Precision = left, add(stopped, left), Exact
	return s, nil
}

// written returns where the kernel has put the rest of an interrupted sleep.
func (sh shape) written(call Call) (addr uint64, ok bool) {
	switch errno := syscall.Errno(-call.Ret); {
	case sh.rem != 0 && errno == ERESTART_RESTARTBLOCK:
		addr = call.Args[sh.rem]
	case sh.updates && errno == ERESTARTNOHAND:
		addr = call.Args[sh.arg]
	}
	return addr, addr != 0
}

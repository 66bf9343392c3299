package ptrace

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind tells why a thread stands still.
type Kind int

// The kinds of stops of ptrace(2), and the two ends of a thread.
const (
	// Trap is PTRACE_EVENT_STOP: it was interrupted, or is a new child.
	Trap Kind = iota
	// Group is PTRACE_EVENT_STOP of a job control stop.
	Group
	// Syscall is the entry or the exit of a system call.
	Syscall
	// Signal is about to be delivered.
	Signal
	// Event is one of PTRACE_EVENT_FORK, CLONE, EXEC...
	Event
	// Exited and Killed: the thread is gone.
	Exited
	Killed
)

var kindNames = [...]string{"trap", "group-stop", "syscall-stop", "signal-delivery-stop", "event", "exit", "death by a signal"}

func (k Kind) String() string { return kindNames[k] }

// Stop is one stop of a thread.
type Stop struct {
	Kind Kind
	// Signal is the stopping, delivered or killing signal, or the exit code.
	Signal int
	// Event is the PTRACE_EVENT_* number of an Event.
	Event int
}

// siginfoChild is siginfo_t as waitid(2) fills it on 64-bit machines.
type siginfoChild struct {
	Signo, Errno, Code int32
	_                  int32
	PID, UID, Status   int32
	_                  [100]byte
}

// si_code of SIGCHLD (include/uapi/asm-generic/siginfo.h).
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// decode reads the si_code and si_status of waitid(2).
func decode(code, status int32) Stop {
	const syscallGood = 0x80
	switch code {
	case cldExited:
		return Stop{Kind: Exited, Signal: int(status)}
	case cldKilled, cldDumped:
		return Stop{Kind: Killed, Signal: int(status)}
	}
	sig, event := int(status&0xff), int(status>>8)
	switch {
	case event == unix.PTRACE_EVENT_STOP && sig == int(unix.SIGTRAP):
		return Stop{Kind: Trap, Signal: sig}
	case event == unix.PTRACE_EVENT_STOP:
		return Stop{Kind: Group, Signal: sig}
	case event != 0:
		return Stop{Kind: Event, Signal: sig, Event: event}
	case sig == int(unix.SIGTRAP)|syscallGood:
		return Stop{Kind: Syscall}
	}
	return Stop{Kind: Signal, Signal: sig}
}

// Poll tells whether the thread stands still and how, without waiting.
func (t *Thread) Poll() (Stop, bool, error) {
	var info siginfoChild
	flags := unix.WSTOPPED | unix.WEXITED | unix.WNOWAIT | unix.WNOHANG | unix.WALL
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(t.TID), uintptr(unsafe.Pointer(&info)), uintptr(flags), 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.ECHILD {
			return Stop{}, false, t.error("wait for", unix.ESRCH)
		}
		if errno != 0 {
			return Stop{}, false, t.error("wait for", errno)
		}
		break
	}
	if info.PID == 0 {
		return Stop{}, false, nil
	}
	return decode(info.Code, info.Status), true, nil
}

// spins is how often one looks before one sleeps, some 40 us: a stop takes some
// 15 us. To yield the processor instead would cost a whole turn of everybody else's, on a
// busy machine many milliseconds each time.
const spins = 100

// Wait waits until the thread stands still. After the timeout it fails with
// ErrTimeout; for a thread that ended it returns the stop and ErrGone.
func (t *Thread) Wait(timeout time.Duration) (Stop, error) {
	deadline := time.Now().Add(timeout)
	for n := 0; ; n++ {
		stop, ok, err := t.Poll()
		if err != nil {
			return stop, err
		}
		if ok && stop.Kind >= Exited {
			return stop, t.error("wait for", ErrGone)
		}
		if ok {
			return stop, nil
		}
		if n >= spins && time.Now().After(deadline) {
			return stop, t.error("wait for", ErrTimeout)
		}
		t.Pause(n)
	}
}

// Reap takes the end of a traced thread off, so that the kernel can tell its
// real parent.
func (t *Thread) Reap() error {
	var info siginfoChild
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(t.TID), uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WALL, 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return t.error("reap", errno)
		}
	}
}

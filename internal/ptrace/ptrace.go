// Package ptrace controls threads of other processes (ptrace(2)).
//
// A Tracer owns one operating system thread: the kernel ties a traced thread to
// the very thread that seized it, so every call about it must come from there.
// Tracer.Do runs a function on that thread; methods of Thread are called inside
// such a function only. Memory of a traced process is not moved through here:
// /proc/PID/mem and process_vm_readv(2) work from any thread.
//
// Threads are seized (PTRACE_SEIZE), never attached: no SIGSTOP is sent, a job
// control stop stays what it was, and the death of the tracer lets every thread
// go on from the registers that it has at that moment. Stops are looked at
// without being consumed (WNOWAIT): a signal that a thread was about to take is
// handed on in the same call that resumes it, so our death never swallows it.
package ptrace

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/osthread"
	"golang.org/x/sys/unix"
)

// ErrGone means that the thread ended or was killed.
var ErrGone = errors.New("thread is gone")

// ErrTimeout means that a thread did not stop in time.
var ErrTimeout = errors.New("thread does not stop")

// Error is a failed operation on a traced thread.
type Error struct {
	Op  string
	TID int
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s thread %d: %v", e.Op, e.TID, e.Err) }

// Unwrap gives the cause; ESRCH answers to ErrGone as well.
func (e *Error) Unwrap() []error {
	if errors.Is(e.Err, unix.ESRCH) {
		return []error{e.Err, ErrGone}
	}
	return []error{e.Err}
}

// Tracer is an operating system thread that traces.
type Tracer struct {
	calls chan call
}

type call struct {
	f    func() error
	done chan error
}

// NewTracer starts a thread. Close ends it, which lets go all that it traces.
func NewTracer() *Tracer {
	noStops()
	t := &Tracer{calls: make(chan call)}
	go osthread.Run(t.serve)
	return t
}

func (t *Tracer) serve() {
	// The thread dies with the goroutine, and the kernel detaches what is
	// still traced. Its naps in Wait are shorter than the usual slack of timers.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for c := range t.calls {
		c.done <- c.f()
	}
}

// Do runs f on the tracer's thread and returns what it returns. It must not be
// called from inside such a function.
func (t *Tracer) Do(f func() error) error {
	c := call{f, make(chan error, 1)}
	t.calls <- c
	return <-c.done
}

// Close ends the thread. Threads that are still traced go on running, or die if
// they were seized with PTRACE_O_EXITKILL.
func (t *Tracer) Close() { close(t.calls) }

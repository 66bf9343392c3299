// Package inject runs batches of system calls inside a stopped task and leaves
// no trace of it.
//
// # Entering
//
// The vdso of a process ends in some 1.5 KB of zeros that may be executed. A STUB
// is written there through /proc/PID/mem (which gives the process its own copy of
// that one page). Run under PTRACE_SYSCALL it maps the ARENA: shared anonymous
// memory at an address that is free in the task. The tracer maps the same pages
// by opening /proc/PID/map_files/RANGE; no descriptor is needed in the task. The
// BLOB, some 200 bytes of machine code, is copied into the arena, and the task is
// resumed in it.
//
// # Running
//
// The blob sleeps in futex_waitv(2) on two words: COMMAND, which the tracer
// changes to have the batch run, and OWNER. A batch is an array of Call in the
// arena; results are written back into it. The blob uses general registers only, so the
// task's extended state stays where it is.
//
// # Surviving our own death
//
// OWNER holds the number of the tracer's thread and stands in that thread's
// robust list. When the thread dies, however it dies, the kernel sets
// FUTEX_OWNER_DIED and wakes the blob, which leaves out the rest of the batch,
// runs the cleanup calls, and goes back through the stub: unmap the arena, bring back the signal
// mask, load the registers (with an interrupted system call turned into its
// restart) and jump to where the task was. The same stub stands behind the first
// instructions too: a death while the arena is being mapped runs straight through
// it. At every moment the registers that the task would go on with are either its own or lead through the stub.
//
// The stub brings the signal mask back itself, so the order is always: registers
// first, then block all signals; and on the way out: unmap, unblock, registers.
//
// # Leaving
//
// The tracer has the task unmap the arena through the stub and then sets the
// registers that were there at first, in a stop on the kernel's signal path: the
// kernel then restarts an interrupted system call by its own rules, as
// if nothing had happened. The stub is zeroed.
package inject

import "fmt"

// Call is one system call of a batch. Its layout is known to the blob.
type Call struct {
	Nr   uint64
	Args [6]uint64
	// Ret is what the kernel returned: a value, or -errno.
	Ret int64
}

// Failed tells whether the kernel returned an error.
func (c *Call) Failed() bool { return c.Ret < 0 && c.Ret > -4096 }

// Error is a system call that failed in a task.
type Error struct {
	// Call names the system call, TID the thread.
	Call string
	TID  int
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s inside thread %d: %v", e.Call, e.TID, e.Err)
}

// Unwrap gives the cause, a unix.Errno for what the kernel refused.
func (e *Error) Unwrap() error { return e.Err }

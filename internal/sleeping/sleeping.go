// Package sleeping finds out how long a thread that sleeps in a system call
// with a relative timeout has still to wait, so that a restored thread waits
// for the rest and not from the beginning.
//
// The kernel shows the end of a sleep nowhere: it lies in a timer on the kernel
// stack, and after an interruption in the restart_block. These sources together
// tell it nevertheless:
//
//  1. The scheduler's clock. se.exec_start in /proc/PID/task/TID/sched
//     (milliseconds, six decimals) is the time at which the thread was last
//     charged for running; of a thread that is asleep that is the moment when
//     it fell asleep. The clock is rq_clock_task of the processor that it ran on
//     (field 39 of its stat file): it counts per processor, leaves out interrupt
//     and stolen time where the kernel accounts for them, and follows the TSC
//     without NTP's corrections. So it is compared with CLOCK_MONOTONIC by a
//     thread of ours on the same processor, which blocks for a moment and then
//     reads its own exec_start (see clock.go).
//  2. The kernel's timers. /proc/timer_list (root only) shows the expiry of
//     every high-resolution timer in nanoseconds, but not its owner. Sleeping
//     threads have one with the function hrtimer_wakeup. The timer nearest to
//     the end computed from 1 is taken if it is near enough, and the only one
//     that can be ours if 1 gives just an upper bound (see match.go).
//  3. The program's memory, after the stop. An interrupted nanosleep has written
//     the rest to its second argument, select, pselect6 and ppoll to their
//     timeout (see [Watch.Stopped]).
//  4. The kernel's memory, after the stop, where it can be read: the
//     restart_block has the very end of what goes on by restart_syscall(2)
//     (poll, futex and the sleeps; see block.go), also of what was stopped
//     before, of which nothing else tells when it began.
//
// 1 errs on the late side only: a poll that woke up for nothing went to sleep
// again, and a clock that leaves time out is slow. A restored sleep may last
// longer than asked for, like any sleep, but it must not be shorter.
//
// The order: Look at the threads BEFORE anything is frozen or interrupted, for
// both end the sleep inside the kernel and overwrite exec_start; if their cgroup
// is frozen for the stop, tell Held of each before it is interrupted; stop them;
// pass what Look gave to Stopped; store [Sleep.Syscall] and Left; at restore let
// [Resume] say how the system call is issued again.
//
// Not covered: receive and send timeouts of sockets (SO_RCVTIMEO), which the
// kernel starts anew after each interruption in any case.
package sleeping

import (
	"errors"
	"syscall"
)

var (
	// ErrAwake tells that a thread is not blocked in a system call.
	ErrAwake = errors.New("thread is not asleep")
	// ErrUntimed tells that a thread is blocked in a system call that has no
	// timeout.
	ErrUntimed = errors.New("system call has no timeout")
	// ErrHidden tells that a thread was stopped twice in the same call, so that
	// nothing shows any more which call that is.
	ErrHidden = errors.New("a stopped thread hides which system call it goes on with; continue it (SIGCONT) first")
)

// Precision says how far Deadline and Left can be trusted.
type Precision int

const (
	// Bound means that the sleep ends then or earlier.
	Bound Precision = iota
	// Estimated comes from the scheduler's clock: right to within a
	// millisecond, plus what the clocks drift apart in long sleeps (10 ms in a
	// minute on a virtual machine that accounts for stolen time).
	Estimated
	// Exact comes from the kernel's timer, or needs no computing.
	Exact
)

// String names the precision.
func (p Precision) String() string {
	switch p {
	case Exact:
		return "exact"
	case Estimated:
		return "estimated"
	}
	return "bound"
}

// Sleep is a thread asleep in a system call with a timeout. Times are in
// nanoseconds, those without another remark of CLOCK_MONOTONIC.
type Sleep struct {
	// Syscall is the number of the call, and its own one where the thread goes
	// on with restart_syscall(2). Name is its name in the manual.
	Syscall int
	Name    string
	// Args are the arguments in the registers.
	Args [6]uint64
	// Timeout is what was asked for: a duration, -1 for none, or with Absolute
	// a point in time of Clock.
	Timeout  int64
	Absolute bool
	Clock    int32
	// Since is when the thread fell asleep. After a restart it is the time of
	// that, and Restarted is true.
	Since     int64
	Restarted bool
	// Looked is the time of the observation, Deadline the end of the sleep and
	// Left what remained at Looked, not below 0; both are -1 without a timeout
	// and for absolute ones, which go on unchanged.
	Looked    int64
	Deadline  int64
	Left      int64
	Precision Precision
	// Restart is what the register of the result shows, negated, when the
	// call is interrupted: an ERESTART code of the kernel or EINTR.
	Restart syscall.Errno
	// Switches counts how often the thread has gone to sleep (voluntary context
	// switches). A stop of the thread adds one.
	Switches uint64
	// held tells that it was the same sleep when the thread could no longer leave the kernel.
	held bool
	// later tells that the kernel's memory will have the end, and that nothing else was looked at.
	later bool
}

// LeftAt returns what remains at the time now, not below 0, or -1 without a
// timeout and for absolute ones.
func (s *Sleep) LeftAt(now int64) int64 {
	if s.Deadline < 0 {
		return -1
	}
	return max(s.Deadline-now, 0)
}

// Restart codes of include/linux/errno.h, which only a tracer sees.
const (
	ERESTARTSYS           syscall.Errno = 512
	ERESTARTNOINTR        syscall.Errno = 513
	ERESTARTNOHAND        syscall.Errno = 514
	ERESTART_RESTARTBLOCK syscall.Errno = 516
)

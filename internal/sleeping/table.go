package sleeping

import (
	"maps"
	"syscall"

	"golang.org/x/sys/unix"
)

// form is how a timeout is passed.
type form int

const (
	millis   form = iota // an int of milliseconds in the register, < 0 for none
	timespec             // a pointer to struct timespec, NULL for none
	timeval              // a pointer to struct timeval, NULL for none
)

// shape describes one timed system call. Arguments are counted from 0.
type shape struct {
	name     string
	arg      int
	form     form
	absolute bool
	clock    int32
	restart  syscall.Errno
	// rem is the argument to which the kernel writes the rest when the sleep is
	// interrupted, 0 if there is none (it is never the first one).
	rem int
	// updates: the kernel writes the rest over the timeout itself, if it can.
	updates bool
	// again: the kernel starts the timeout anew after an interruption, and so
	// do we.
	again bool
	// untimed: not every kernel uses a timer of its own for the sleep, as
	// semtimedop before Linux 5.17.
	untimed bool
}

// handler tells the shape of a call by its arguments; false if these have no
// timeout.
type handler func(args [6]uint64) (shape, bool)

func plain(s shape) handler {
	return func([6]uint64) (shape, bool) { return s, true }
}

// common are the calls that every architecture has.
func common() map[int]handler {
	return map[int]handler{
		unix.SYS_NANOSLEEP: plain(shape{name: "nanosleep", arg: 0, form: timespec, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTART_RESTARTBLOCK, rem: 1}),
		unix.SYS_CLOCK_NANOSLEEP: clockNanosleep,
		unix.SYS_FUTEX:           futex,
		unix.SYS_PPOLL: plain(shape{name: "ppoll", arg: 2, form: timespec, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTARTNOHAND, updates: true}),
		unix.SYS_PSELECT6: plain(shape{name: "pselect6", arg: 4, form: timespec, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTARTNOHAND, updates: true}),
		unix.SYS_EPOLL_PWAIT:     plain(interruptible("epoll_pwait", 3, millis)),
		unix.SYS_EPOLL_PWAIT2:    plain(interruptible("epoll_pwait2", 3, timespec)),
		unix.SYS_RT_SIGTIMEDWAIT: plain(interruptible("rt_sigtimedwait", 2, timespec)),
		unix.SYS_SEMTIMEDOP: plain(shape{name: "semtimedop", arg: 3, form: timespec, clock: unix.CLOCK_MONOTONIC,
			restart: syscall.EINTR, untimed: true}),
		unix.SYS_IO_GETEVENTS:  plain(interruptible("io_getevents", 4, timespec)),
		unix.SYS_IO_PGETEVENTS: plain(interruptible("io_pgetevents", 4, timespec)),
		unix.SYS_FUTEX_WAITV:   futexWaitv,
		unix.SYS_MQ_TIMEDSEND: plain(shape{name: "mq_timedsend", arg: 4, form: timespec, absolute: true,
			clock: unix.CLOCK_REALTIME, restart: ERESTARTSYS}),
		unix.SYS_MQ_TIMEDRECEIVE: plain(shape{name: "mq_timedreceive", arg: 4, form: timespec, absolute: true,
			clock: unix.CLOCK_REALTIME, restart: ERESTARTSYS}),
		// recvmmsg looks at its timeout only after a datagram has come.
		unix.SYS_RECVMMSG: plain(shape{name: "recvmmsg", arg: 4, form: timespec, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTARTSYS, again: true}),
	}
}

// interruptible describes a call that ends with EINTR whenever the thread is
// stopped, even without a signal (signal(7), "Interruption of system calls and
// library functions by stop signals").
func interruptible(name string, arg int, f form) shape {
	return shape{name: name, arg: arg, form: f, clock: unix.CLOCK_MONOTONIC, restart: syscall.EINTR}
}

func clockNanosleep(args [6]uint64) (shape, bool) {
	s := shape{name: "clock_nanosleep", arg: 2, form: timespec, clock: int32(args[0]),
		restart: ERESTART_RESTARTBLOCK, rem: 3}
	if args[1]&unix.TIMER_ABSTIME != 0 {
		s.absolute, s.rem, s.restart = true, 0, ERESTARTNOHAND
	}
	return s, true
}

// Operations of futex(2) that take a timeout (include/uapi/linux/futex.h).
const (
	futexWait          = 0
	futexLockPI        = 6
	futexWaitBitset    = 9
	futexWaitRequeuePI = 11
	futexLockPI2       = 13
	futexPrivate       = 128
	futexRealtime      = 256
)

func futex(args [6]uint64) (shape, bool) {
	s := shape{name: "futex", arg: 3, form: timespec, absolute: true, clock: unix.CLOCK_MONOTONIC,
		restart: ERESTART_RESTARTBLOCK}
	if args[1]&futexRealtime != 0 {
		s.clock = unix.CLOCK_REALTIME
	}
	switch args[1] &^ (futexPrivate | futexRealtime) & 0xffffffff {
	case futexWait:
		s.absolute, s.clock = false, unix.CLOCK_MONOTONIC
	case futexWaitBitset:
	case futexLockPI:
		s.clock, s.restart = unix.CLOCK_REALTIME, ERESTARTNOINTR
	case futexLockPI2, futexWaitRequeuePI:
		s.restart = ERESTARTNOINTR
	default:
		return shape{}, false
	}
	if args[3] == 0 && s.restart == ERESTART_RESTARTBLOCK {
		s.restart = ERESTARTSYS
	}
	return s, true
}

func futexWaitv(args [6]uint64) (shape, bool) {
	return shape{name: "futex_waitv", arg: 3, form: timespec, absolute: true, clock: int32(args[4]),
		restart: ERESTARTSYS}, true
}

// handlers are those of all calls that are known, by their number.
var handlers = func() map[int]handler {
	all := common()
	maps.Copy(all, legacy())
	return all
}()

// lookUp returns the shape of a call.
func lookUp(nr int, args [6]uint64) (shape, bool) {
	h, ok := handlers[nr]
	if !ok {
		return shape{}, false
	}
	return h(args)
}

package sleeping

import "golang.org/x/sys/unix"

// redZone is how far below the stack pointer a function may keep data (System V
// ABI, AMD64 supplement, 3.2.2).
const redZone = 128

// legacy are the calls that newer architectures do without.
func legacy() map[int]handler {
	return map[int]handler{
		unix.SYS_POLL: plain(shape{name: "poll", arg: 2, form: millis, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTART_RESTARTBLOCK}),
		unix.SYS_SELECT: plain(shape{name: "select", arg: 4, form: timeval, clock: unix.CLOCK_MONOTONIC,
			restart: ERESTARTNOHAND, updates: true}),
		unix.SYS_EPOLL_WAIT: plain(interruptible("epoll_wait", 3, millis)),
	}
}

// pollNumber is the call that do_restart_poll goes on with.
const pollNumber = unix.SYS_POLL

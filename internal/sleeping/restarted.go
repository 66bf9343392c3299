package sleeping

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// restarted tells from the kernel stack of a thread in restart_syscall(2), which
// sleeps, what call goes on: poll, futex, nanosleep and clock_nanosleep are all
// that are restarted in this way. The functions of the last two are left out of
// the stack as parts of the scheduler (__sched), so they are what remains. Of
// these the first argument of the one is a pointer, which never lies in the
// first page, and that of the other a clock.
func restarted(stack []byte, args [6]uint64) (nr int, ok bool) {
	has := func(name string) bool { return bytes.Contains(stack, []byte(name)) }
	switch {
	case len(bytes.TrimSpace(stack)) == 0, has("signal_stop"), has("ptrace_stop"):
		return 0, false
	case has("poll"):
		return pollNumber, pollNumber >= 0
	case has("futex"):
		return unix.SYS_FUTEX, true
	case args[0] < 4096, args[0] > 1<<63, args[0]>>31 == 1: // clocks of processes are negative
		return unix.SYS_CLOCK_NANOSLEEP, true
	}
	return unix.SYS_NANOSLEEP, true
}

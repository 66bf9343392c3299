package kmem

import "golang.org/x/sys/unix"

// pollFor is poll(2) itself: what libraries use instead, ppoll(2), does not go on by restart_syscall(2).
func pollFor(t *unix.Timespec) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_POLL, 0, 0, uintptr(t.Nano()/1e6))
	return errno
}

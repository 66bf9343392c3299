package restore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setTimes sets access and modification time of an open file, in nanoseconds
// (futimens(3), which is utimensat(2) without a path).
func setTimes(fd int, atime, mtime int64) error {
	times := [2]unix.Timespec{unix.NsecToTimespec(atime), unix.NsecToTimespec(mtime)}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

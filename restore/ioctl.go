package restore

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlWord makes an ioctl(2) that takes the address of 64 bits.
func ioctlWord(fd int, request uintptr, value uint64) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&value))); errno != 0 {
		return errno
	}
	return nil
}

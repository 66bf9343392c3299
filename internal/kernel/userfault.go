package kernel

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/userfaultfd.h.
const (
	uffdAPI            = 0xaa
	uffdFeatureWPAsync = 1 << 15
	uffdFeatureMove    = 1 << 16
	uffdUserModeOnly   = 1
	uffdModeMissing    = 1
	uffdioAPI          = 3<<30 | 24<<16 | 0xaa<<8 | 0x3f
	uffdioRegister     = 3<<30 | 32<<16 | 0xaa<<8 | 0x00
	uffdioMove         = 3<<30 | 40<<16 | 0xaa<<8 | 0x05
)

// userfault makes a userfaultfd with the given features. That the kernel lacks one is
// a conclusive No.
func userfault(features uint64) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno == unix.EPERM {
		// Without CAP_SYS_PTRACE and with vm.unprivileged_userfaultfd=0.
		fd, _, errno = unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	}
	if errno != 0 {
		return -1, missing(fmt.Errorf("userfaultfd: %w", errno))
	}
	api := struct{ api, features, ioctls uint64 }{uffdAPI, features, 0}
	if err := ioctl(int(fd), uffdioAPI, unsafe.Pointer(&api)); err != nil {
		unix.Close(int(fd))
		return -1, missing(wrap("UFFDIO_API", err), unix.EINVAL)
	}
	return int(fd), nil
}

// tryUffdWPAsync agrees with the kernel on asynchronous write protection.
func tryUffdWPAsync() error {
	fd, err := userfault(uffdFeatureWPAsync)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// tryUffdMove moves a page into a hole.
func tryUffdMove() error {
	fd, err := userfault(uffdFeatureMove)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	from, err := scratch(1, 1)
	if err != nil {
		return err
	}
	defer unix.Munmap(from)
	to, err := scratch(1, 0)
	if err != nil {
		return err
	}
	defer unix.Munmap(to)
	size := uint64(os.Getpagesize())
	reg := struct{ start, len, mode, ioctls uint64 }{address(to), size, uffdModeMissing, 0}
	if err := ioctl(fd, uffdioRegister, unsafe.Pointer(&reg)); err != nil {
		return wrap("UFFDIO_REGISTER", err)
	}
	// EAGAIN and EBUSY come from pages that are in motion for a moment.
	for range 8 {
		move := struct {
			dst, src, len, mode uint64
			moved               int64
		}{address(to), address(from), size, 0, 0}
		err = ioctl(fd, uffdioMove, unsafe.Pointer(&move))
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if err != nil {
		return missing(wrap("UFFDIO_MOVE", err), unix.ENOTTY, unix.EINVAL)
	}
	if to[0] != 1 {
		return absent("UFFDIO_MOVE did not move the page")
	}
	return nil
}

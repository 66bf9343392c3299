package kernel

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tryPidfdOpen opens a pidfd of this process.
func tryPidfdOpen() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return missing(fmt.Errorf("pidfd_open: %w", err))
	}
	return unix.Close(fd)
}

// tryPidfdGetfd takes a descriptor out of this process.
func tryPidfdGetfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return missing(fmt.Errorf("pidfd_open: %w", err))
	}
	defer unix.Close(fd)
	got, err := unix.PidfdGetfd(fd, fd, 0)
	if err != nil {
		return missing(fmt.Errorf("pidfd_getfd: %w", err))
	}
	return unix.Close(got)
}

// pidfdGetInfo is PIDFD_GET_INFO of include/uapi/linux/pidfd.h: _IOWR(0xFF, 11, struct
// pidfd_info), whose first version has 64 bytes.
const pidfdGetInfo = 3<<30 | 64<<16 | 0xff<<8 | 11

// tryPidfdInfo asks about this process.
func tryPidfdInfo() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return missing(fmt.Errorf("pidfd_open: %w", err))
	}
	defer unix.Close(fd)
	var info [64]byte
	err = ioctl(fd, pidfdGetInfo, unsafe.Pointer(&info))
	return missing(wrap("PIDFD_GET_INFO", err), unix.ENOTTY, unix.EINVAL)
}

// tryKcmp compares a descriptor with its duplicate (KCMP_FILE is 0).
func tryKcmp() error {
	r, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return wrap("eventfd", err)
	}
	defer unix.Close(r)
	pid := uintptr(os.Getpid())
	ret, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, 0, uintptr(r), uintptr(r), 0)
	if errno != 0 {
		return missing(fmt.Errorf("kcmp: %w", errno))
	}
	if ret != 0 {
		return absent("kcmp says that a file is not the same as itself")
	}
	return nil
}

// tryKcmpEpoll asks which file an epoll instance watches (KCMP_EPOLL_TFD is 7).
func tryKcmpEpoll() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return wrap("epoll_create1", err)
	}
	defer unix.Close(ep)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return wrap("eventfd", err)
	}
	defer unix.Close(fd)
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return wrap("epoll_ctl", err)
	}
	slot := struct{ efd, tfd, toff uint32 }{uint32(ep), uint32(fd), 0}
	pid := uintptr(os.Getpid())
	ret, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, 7, uintptr(fd), uintptr(unsafe.Pointer(&slot)), 0)
	if errno != 0 {
		return missing(fmt.Errorf("kcmp: %w", errno), unix.EINVAL)
	}
	if ret != 0 {
		return absent("kcmp does not find the file that an epoll instance watches")
	}
	return nil
}

// tryFutexWaitv waits for two words of which one has another value already: EAGAIN.
func tryFutexWaitv() error {
	var words [2]uint32
	type waiter struct {
		value, address  uint64
		flags, reserved uint32
	}
	const futex32, private = 2, 128
	waiters := [2]waiter{
		{value: 1, address: uint64(uintptr(unsafe.Pointer(&words[0]))), flags: futex32 | private},
		{value: 1, address: uint64(uintptr(unsafe.Pointer(&words[1]))), flags: futex32 | private},
	}
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV, uintptr(unsafe.Pointer(&waiters)), 2, 0, 0, 0, 0)
	if errno == unix.EAGAIN {
		return nil
	}
	return missing(fmt.Errorf("futex_waitv: %w", errno))
}

// tryCloneSetTID asks for a child with the pid that we have ourselves. The kernel
// looks at the privilege first, then at the pid: EEXIST says that both feature and
// privilege are there, and no child is made.
func tryCloneSetTID() error {
	tid := int32(os.Getpid())
	args := struct {
		flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
		setTID                                                               uint64
		setTIDSize                                                           uint64
	}{
		exitSignal: uint64(unix.SIGCHLD),
		setTID:     uint64(uintptr(unsafe.Pointer(&tid))),
		setTIDSize: 1,
	}
	child, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	if errno == unix.EEXIST {
		return nil
	}
	if errno == 0 {
		// Only where children go to another pid namespace than ours can there be
		// one after all. It must not run a single function of Go.
		if child == 0 {
			for {
				unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
		reap(int(child))
		return nil
	}
	return missing(fmt.Errorf("clone3 with set_tid: %w", errno), unix.E2BIG)
}

// tryTimerRestoreIDs asks for the mode: PR_TIMER_CREATE_RESTORE_IDS is 77, its GET 2.
func tryTimerRestoreIDs() error {
	_, _, errno := unix.Syscall6(unix.SYS_PRCTL, 77, 2, 0, 0, 0, 0)
	if errno != 0 {
		return missing(fmt.Errorf("prctl: %w", errno), unix.EINVAL)
	}
	return nil
}

// ioctl calls ioctl(2) with a pointer.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// wrap names the operation that failed; nil stays nil.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

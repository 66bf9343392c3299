package agent

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args of clone3(2), version 2 (88 bytes).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTID, setTIDSize, cgroup                    uint64
}

// pwrite is what the child of clonePwrite does; the assembly knows its layout.
type pwrite struct {
	fd     uint64
	buf    unsafe.Pointer
	n      uint64
	result int64 // what pwrite64(2) returned, -errno if negative
}

// unwritten is the result of a child that did not come to its system call.
const unwritten = math.MinInt64

// blocked runs f with every signal of the calling thread blocked. A child that
// shares our memory inherits the mask, and so never runs a handler of the Go
// runtime on a stack that is not its own. The goroutine must be locked to its
// thread.
func blocked(f func()) error {
	all, old := ^uint64(0), uint64(0)
	if err := sigmask(&all, &old); err != nil {
		return err
	}
	f()
	return sigmask(&old, nil)
}

// sigmask calls rt_sigprocmask(SIG_SETMASK) for the calling thread.
func sigmask(set, old *uint64) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(*set), 0, 0)
	if errno != 0 {
		return fmt.Errorf("rt_sigprocmask: %w", errno)
	}
	return nil
}

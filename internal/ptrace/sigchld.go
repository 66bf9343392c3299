package ptrace

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is struct sigaction of the kernel (include/linux/signal_types.h).
type sigaction struct {
	handler, flags, restorer, mask uint64
}

// saNoCldStop is SA_NOCLDSTOP (include/uapi/asm-generic/signal-defs.h).
const saNoCldStop = 1

// noStops asks the kernel not to send SIGCHLD for stops of what we trace (SA_NOCLDSTOP of sigaction(2)): nobody
// here listens to it, and each would wake a thread of the runtime up on the processor for which the tracee has to
// wait. Ends of children are told as ever. Where it fails things are slower.
var noStops = sync.OnceFunc(func() {
	var act sigaction
	at := uintptr(unsafe.Pointer(&act))
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, at, unsafe.Sizeof(act.mask), 0, 0); errno != 0 {
		return
	}
	act.flags |= saNoCldStop
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), at, 0, unsafe.Sizeof(act.mask), 0, 0)
})

package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoSize is sizeof(siginfo_t).
const siginfoSize = 128

// SigMask is the mask of blocked signals; during sigsuspend and the like it is
// the one that comes back afterwards.
func (t *Thread) SigMask() (uint64, error) {
	var mask uint64
	err := t.exchange("read signal mask of", unix.PTRACE_GETSIGMASK, 8, unsafe.Pointer(&mask))
	return mask, err
}

// SetSigMask replaces the mask of blocked signals.
func (t *Thread) SetSigMask(mask uint64) error {
	return t.exchange("set signal mask of", unix.PTRACE_SETSIGMASK, 8, unsafe.Pointer(&mask))
}

// Pending reads the queued signals, those of the process if shared is set, else
// those of the thread alone; each is a siginfo_t of 128 bytes.
func (t *Thread) Pending(shared bool) ([][]byte, error) {
	if err := t.settle(); err != nil {
		return nil, err
	}
	const batch = 32
	var all [][]byte
	for {
		args := struct {
			off   uint64
			flags uint32
			nr    int32
		}{off: uint64(len(all)), nr: batch}
		if shared {
			args.flags = 1 // PTRACE_PEEKSIGINFO_SHARED
		}
		var buf [batch * siginfoSize]byte
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(t.TID),
			uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&buf)), 0, 0)
		if errno != 0 {
			return nil, t.error("read pending signals of", errno)
		}
		for i := range int(n) {
			all = append(all, append([]byte(nil), buf[i*siginfoSize:(i+1)*siginfoSize]...))
		}
		// Fewer than asked for is not the end: the kernel breaks off when a signal
		// waits for us, such as those of Go's scheduler (ptrace_peek_siginfo).
		if n == 0 {
			return all, nil
		}
	}
}

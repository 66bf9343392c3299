package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Registers are the general registers: struct user_pt_regs.
type Registers = unix.PtraceRegs

// Register sets of include/uapi/linux/elf.h.
const (
	ntPRStatus = 1
	ntPRFPReg  = 2
	maxXState  = 4 << 10
)

// PC is the address of the next instruction.
func PC(r *Registers) uint64 { return r.Pc }

// Registers reads the general registers.
func (t *Thread) Registers() (Registers, error) {
	var r Registers
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&r)), Len: uint64(unsafe.Sizeof(r))}
	err := t.exchange("read registers of", unix.PTRACE_GETREGSET, ntPRStatus, unsafe.Pointer(&iov))
	return r, err
}

// SetRegisters writes the general registers.
func (t *Thread) SetRegisters(r *Registers) error {
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(unsafe.Sizeof(*r))}
	return t.exchange("set registers of", unix.PTRACE_SETREGSET, ntPRStatus, unsafe.Pointer(&iov))
}

// XState reads the floating point registers.
func (t *Thread) XState() ([]byte, error) {
	buf := make([]byte, maxXState)
	iov := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	if err := t.exchange("read extended state of", unix.PTRACE_GETREGSET, ntPRFPReg, unsafe.Pointer(&iov)); err != nil {
		return nil, err
	}
	return append([]byte(nil), buf[:iov.Len]...), nil
}

// SetXState writes the floating point registers as XState has read them.
func (t *Thread) SetXState(state []byte) error {
	iov := unix.Iovec{Base: &state[0], Len: uint64(len(state))}
	return t.exchange("set extended state of", unix.PTRACE_SETREGSET, ntPRFPReg, unsafe.Pointer(&iov))
}

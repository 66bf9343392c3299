package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Registers are the general registers: struct user_regs_struct.
type Registers = unix.PtraceRegs

const (
	// ntXState is NT_X86_XSTATE (include/uapi/linux/elf.h).
	ntXState = 0x202
	// maxXState bounds what a processor has: with AMX it is some 11 KiB.
	maxXState = 64 << 10
)

// PC is the address of the next instruction.
func PC(r *Registers) uint64 { return r.Rip }

// Registers reads the general registers.
func (t *Thread) Registers() (Registers, error) {
	var r Registers
	err := t.exchange("read registers of", unix.PTRACE_GETREGS, 0, unsafe.Pointer(&r))
	return r, err
}

// SetRegisters writes the general registers.
func (t *Thread) SetRegisters(r *Registers) error {
	return t.exchange("set registers of", unix.PTRACE_SETREGS, 0, unsafe.Pointer(r))
}

// XState reads the extended state: x87, SSE, AVX, AVX-512, PKRU...
func (t *Thread) XState() ([]byte, error) {
	buf := make([]byte, maxXState)
	iov := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	err := t.exchange("read extended state of", unix.PTRACE_GETREGSET, ntXState, unsafe.Pointer(&iov))
	if err != nil {
		return nil, err
	}
	state := make([]byte, iov.Len)
	copy(state, buf)
	return state, nil
}

// SetXState writes the extended state as XState has read it.
func (t *Thread) SetXState(state []byte) error {
	iov := unix.Iovec{Base: &state[0], Len: uint64(len(state))}
	return t.exchange("set extended state of", unix.PTRACE_SETREGSET, ntXState, unsafe.Pointer(&iov))
}

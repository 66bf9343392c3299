package ptrace

import (
	"bytes"
	"errors"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Registers are the general registers: struct user_regs_struct.
type Registers = unix.PtraceRegs

const (
	// ntXState is NT_X86_XSTATE (include/uapi/linux/elf.h).
	ntXState = 0x202
	// ntFPRegs is NT_PRFPREG: what processors without XSAVE have, the 512 bytes of FXSAVE.
	ntFPRegs   = 2
	fxsaveSize = 512
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

// xstates are buffers that nobody reads into at present.
var xstates = sync.Pool{New: func() any { return new([maxXState]byte) }}

// XState reads the extended state: x87, SSE, AVX, AVX-512, PKRU... in the standard format of XSAVE, or that of FXSAVE
// on a processor that has no other.
func (t *Thread) XState() ([]byte, error) {
	buffer := xstates.Get().(*[maxXState]byte)
	defer xstates.Put(buffer)
	iov := unix.Iovec{Base: &buffer[0], Len: uint64(len(buffer))}
	err := t.exchange("read extended state of", unix.PTRACE_GETREGSET, ntXState, unsafe.Pointer(&iov))
	if errors.Is(err, unix.ENODEV) {
		err = t.exchange("read floating point registers of", unix.PTRACE_GETREGSET, ntFPRegs, unsafe.Pointer(&iov))
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(buffer[:iov.Len]), nil
}

// SetXState writes the extended state as XState has read it on a processor of this kind.
func (t *Thread) SetXState(state []byte) error {
	set := uintptr(ntXState)
	if len(state) == fxsaveSize {
		set = ntFPRegs
	}
	iov := unix.Iovec{Base: &state[0], Len: uint64(len(state))}
	return t.exchange("set extended state of", unix.PTRACE_SETREGSET, set, unsafe.Pointer(&iov))
}

package inject

import "github.com/rethaw/rethaw/internal/ptrace"

// machineError tells that injection is not there for this machine; here it is.
func machineError() error { return nil }

// syscallInstruction is what a gate looks like.
var syscallInstruction = []byte{0x0f, 0x05}

// jump sends a thread to pc, with nothing for the kernel to restart.
func jump(r *ptrace.Registers, pc uint64) { r.Rip, r.Orig_rax = pc, noSyscall }

// flagsOf is the flags register, which the blob brings back by itself.
func flagsOf(r *ptrace.Registers) uint64 { return r.Eflags }

// enterBlob sends a thread into the blob at pc with its slot, last being the
// last command that was run. Flags are those of a program's start.
func enterBlob(r *ptrace.Registers, pc, slot, last uint64) {
	jump(r, pc)
	r.Rbx, r.R12, r.Eflags = slot, last, 0x202
}

// onStack sets the stack pointer.
func onStack(r *ptrace.Registers, sp uint64) { r.Rsp = sp }

// issue sends a thread through a gate with a system call.
func issue(r *ptrace.Registers, gate uint64, c *Call) {
	jump(r, gate)
	r.Rax = c.Nr
	r.Rdi, r.Rsi, r.Rdx = c.Args[0], c.Args[1], c.Args[2]
	r.R10, r.R8, r.R9 = c.Args[3], c.Args[4], c.Args[5]
}

// resultOf is what the last system call returned.
func resultOf(r *ptrace.Registers) int64 { return int64(r.Rax) }

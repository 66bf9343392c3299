package inject

import (
	"errors"
	"os"

	"github.com/rethaw/rethaw/internal/ptrace"
)

// machineError tells that injection is not there for this machine yet.
func machineError() error {
	return errors.New("checkpoint and restore are not supported on arm64 yet: use an amd64 machine")
}

// syscallInstruction is svc #0.
var syscallInstruction = []byte{0x01, 0x00, 0x00, 0xd4}

func jump(r *ptrace.Registers, pc uint64) { r.Pc = pc }

func flagsOf(r *ptrace.Registers) uint64 { return r.Pstate }

func enterBlob(r *ptrace.Registers, pc, slot, last uint64) {
	jump(r, pc)
	r.Regs[19], r.Regs[20] = slot, last
}

func onStack(r *ptrace.Registers, sp uint64) { r.Sp = sp }

func issue(r *ptrace.Registers, gate uint64, c *Call) {
	jump(r, gate)
	r.Regs[8] = c.Nr
	copy(r.Regs[:6], c.Args[:])
}

func resultOf(r *ptrace.Registers) int64 { return int64(r.Regs[0]) }

func blobCode() []byte { return nil }

// stub and newStub stand for what machineError keeps from being reached.
type stub struct {
	code         []byte
	enter, leave uint64
}

var stubMagic = []byte("RETHAW01")

const stubSize = 384

func newStub(_, _ uint64, _ *ptrace.Registers, _ uint64) stub { return stub{} }

// Interrupted tells whether the thread was stopped inside a system call.
func Interrupted(*ptrace.Registers) bool { return false }

// Breaks tells whether a system call returns EINTR when it is stopped.
func Breaks(int) bool { return false }

// Reissue leaves restarts to the kernel.
func Reissue(*ptrace.Registers) bool { return false }

// Restarted returns the registers as they are.
func Restarted(r ptrace.Registers) ptrace.Registers { return r }

// Settle leaves the registers as they are.
func Settle(*ptrace.Registers) {}

// AbortRSeq leaves the registers as they are.
func AbortRSeq(*os.File, ptrace.RSeq, *ptrace.Registers) {}

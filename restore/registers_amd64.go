package restore

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"golang.org/x/sys/unix"
)

// finish sets extended state, signal mask and registers of a thread.
func (r *restorer) finish(t *task, th *thread) error {
	var regs ptrace.Registers
	if len(th.rec.Registers) != int(unsafe.Sizeof(regs)) {
		return fmt.Errorf("%w: registers have %d bytes", ErrUnfit, len(th.rec.Registers))
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&regs)), unsafe.Sizeof(regs)), th.rec.Registers)
	if s := th.rec.Sleep; s != nil {
		if err := r.resume(t, &regs, int(s.Syscall), s.Left); err != nil {
			return err
		}
	}
	inject.Settle(&regs)
	state, err := r.xstate(th)
	if err != nil {
		return err
	}
	if err := th.traced.SetXState(state); err != nil {
		return err
	}
	if err := th.traced.SetSigMask(th.rec.Blocked); err != nil {
		return err
	}
	return th.traced.SetRegisters(&regs)
}

// resume has an interrupted sleep go on for what was left of it.
func (r *restorer) resume(t *task, regs *ptrace.Registers, nr int, left int64) error {
	call := sleeping.CallOf(regs)
	if nr == unix.SYS_NANOSLEEP || nr == unix.SYS_CLOCK_NANOSLEEP {
		// What the kernel had written of the rest was taken back at the
		// checkpoint.
		call.Ret = -int64(sleeping.ERESTARTNOHAND)
	}
	change, err := sleeping.Resume(call, nr, left)
	if errors.Is(err, sleeping.ErrUntimed) {
		return nil // the kernel restarts it
	}
	if err != nil {
		return err
	}
	if len(change.Scratch) > 0 {
		mem, err := t.openMem()
		if err != nil {
			return err
		}
		defer mem.Close()
		if _, err := mem.WriteAt(change.Scratch, int64(change.ScratchAddr)); err != nil {
			return err
		}
	}
	regs.Orig_rax = uint64(change.NR)
	a := &change.Args
	regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9 = a[0], a[1], a[2], a[3], a[4], a[5]
	return nil
}

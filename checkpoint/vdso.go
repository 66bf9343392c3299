package checkpoint

import (
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/vdso"
)

// Functions of the vdso read data of the kernel. Under another kernel they lead into those of its own vdso,
// but for whoever was in the middle of one: that one would find no data (package vdso). So a thread that was stopped there
// runs on for a moment, once or a few times. It is stopped as all others are, by nothing that our death could leave behind.

const (
	// vdsoTries is how often: a program that does nothing but ask for the time is in there half of its time.
	vdsoTries = 16
	// vdsoMoment is how long it runs. A function takes some 30 ns.
	vdsoMoment = 30 * time.Microsecond
)

// leaveVDSO has such threads run on, and tells whether there were any: they may have forked since.
func (f *frozen) leaveVDSO() (ran bool, err error) {
	for range vdsoTries {
		var inside []*thread
		for _, th := range f.threads {
			if th.userPC != 0 && th.stop.Kind == ptrace.Trap && th.inVDSO() {
				inside = append(inside, th)
			}
		}
		if len(inside) == 0 {
			return ran, nil
		}
		ran = true
		for _, th := range inside {
			th.stop, th.userPC = ptrace.Stop{}, 0
			if err := th.traced.Cont(0); err != nil && !gone(err) {
				return ran, err
			}
		}
		time.Sleep(vdsoMoment)
		for _, th := range inside {
			if err := th.traced.Interrupt(); err != nil && !gone(err) {
				return ran, err
			}
		}
		if err := f.awaitAll(); err != nil {
			return ran, err
		}
	}
	return ran, nil
}

// inVDSO tells whether the thread stands in the vdso. What cannot be asked any more has ended.
func (th *thread) inVDSO() bool {
	name, err := procfs.AreaAt(th.tid, th.userPC)
	return err == nil && name == vdso.Name
}

// noteUserPC keeps where the thread was stopped, if that was in its program and not in a system call.
func (th *thread) noteUserPC(r *ptrace.Registers) {
	if th.userPC = 0; !inject.Interrupted(r) {
		th.userPC = ptrace.PC(r)
	}
}

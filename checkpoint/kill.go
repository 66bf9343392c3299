package checkpoint

import (
	"errors"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// kill ends all tasks, the image being safe. They are still stopped, so none
// runs another instruction. The tracer's end lets the kernel tell their
// parents.
func (d *dump) kill() error {
	var errs []error
	for _, p := range d.live() {
		if err := unix.PidfdSendSignal(int(p.pidfd.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, &Error{"kill", p.nspid, err})
		}
	}
	// A traced task that ended is a zombie for its tracer first. Children are
	// reaped before their parents, for a namespace's init ends only when all
	// others have, and threads before the leader, which ends only after them.
	procs := d.live()
	for i := len(procs) - 1; i >= 0; i-- {
		for k := len(procs[i].threads) - 1; k >= 0; k-- {
			if err := procs[i].threads[k].traced.Bury(ptrace.Patience); err != nil {
				errs = append(errs, err)
			}
		}
	}
	clear(d.frozen.threads)
	return errors.Join(errs...)
}

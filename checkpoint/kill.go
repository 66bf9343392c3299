package checkpoint

import (
	"errors"
	"time"

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
	// A traced task that ended is a zombie for its tracer first. The threads
	// before the leader: it is not reported before they are.
	for _, p := range d.live() {
		for i := len(p.threads) - 1; i >= 0; i-- {
			th := p.threads[i]
			if _, err := th.traced.Wait(5 * time.Second); err != nil && gone(err) {
				_ = th.traced.Reap()
			}
		}
	}
	clear(d.frozen.threads)
	return errors.Join(errs...)
}

package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// end lets the engine begin with the end of the container, if it must take part.
// If it cannot, the tasks go on, and the image stays.
func (d *dump) end(ctx context.Context) error {
	if d.target.End == nil {
		return nil
	}
	err := d.step("end", func() error { return d.target.End(ctx) })
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("the image in %s is complete, but the container was not ended and goes on: %w", d.opts.Image, err),
		d.inet.unsilence())
}

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
	// A traced task that ended is a zombie for its tracer first, and a
	// namespace's init ends only when all others are reaped.
	var threads []*ptrace.Thread
	for _, p := range d.live() {
		for _, th := range p.threads {
			threads = append(threads, th.traced)
		}
	}
	errs = append(errs, ptrace.Bury(threads, ptrace.Patience), d.frozen.forget(), d.inet.silenced(d))
	clear(d.frozen.threads)
	return errors.Join(errs...)
}

package checkpoint

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/internal/xstate"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
)

// Run checkpoints the target into o.Image. Unless o.LeaveRunning is set the
// tasks are killed once the image is safe on disk, and done (may be nil) is
// called then. Whatever fails before, the tasks go on as if nothing had
// happened. A *RefusedError lists what cannot be saved; nothing was stopped
// then.
func Run(ctx context.Context, t Target, o Options, done func() error) (*Stats, error) {
	start := time.Now()
	d := newDump(&t, &o)
	defer d.close()
	go image.Warm()
	d.components = begin(func() ([]xstate.Component, error) { return xstate.Here(), nil })
	watched := begin(func() (bool, error) { return d.watch(), nil })
	if o.Create == nil {
		d.image = begin(d.directory)
	}
	defer d.remove()
	var problems []error
	err := d.step("preflight", func() (err error) { problems, err = d.preflight(ctx); return err })
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, &RefusedError{problems}
	}
	if err := d.step("prepare", d.prepare); err != nil {
		return nil, err
	}
	if d.image == nil {
		// Of a stream nothing must be seen before.
		d.image = begin(o.Create)
	}
	if err := d.step("create", func() (err error) { d.out, err = d.image.get(); return err }); err != nil {
		return nil, err
	}
	d.data = &dataWriter{out: d.out}

	_ = d.step("watchdog", func() error {
		d.frozen.watched, _ = watched.get()
		if d.exposed {
			d.dog.Wake() // it has the time of the stops for it
		}
		return nil
	})
	tracer := ptrace.NewTracer()
	defer tracer.Close()
	if err := tracer.Do(func() error { return d.run(ctx, done) }); err != nil {
		return nil, err
	}
	d.stats.Total = time.Since(start).Microseconds()
	return &d.stats, nil
}

// directory begins an image in a directory.
func (d *dump) directory() (*image.Writer, error) {
	var options []image.Option
	if !d.opts.LeaveRunning {
		// The tasks stand still until all is on disk.
		options = append(options, image.WithHaste())
	}
	return image.Create(d.opts.Image, options...)
}

// remove removes what is left of an image: the one that was not committed, or the one that was
// replaced.
func (d *dump) remove() {
	if d.image == nil {
		return
	}
	out, err := d.image.get()
	if err != nil {
		return
	}
	if err := errors.Join(d.removal.wait(), d.step("remove", out.Abort)); err != nil {
		d.log.WithError(err).Warn("what is left of an image stays until the next checkpoint")
	}
}

// preflight looks at everything while the tasks run, and prepares what would take
// time when they are stopped.
func (d *dump) preflight(ctx context.Context) ([]error, error) {
	ahead := newDump(d.target, d.opts)
	defer func() { ahead.close() }()
	problems, err := lasting(ctx, func() ([]error, error) {
		before := ahead
		ahead = newDump(d.target, d.opts)
		ahead.kernel, ahead.unseen, before.kernel = before.kernel, before.unseen, nil
		before.close()
		return ahead.check(ctx)
	})
	// To open the kernel's memory takes milliseconds that stopped tasks need not wait.
	d.kernel, d.unseen, ahead.kernel = ahead.kernel, ahead.unseen, nil
	d.listed, d.hostMounts, d.exposed = ahead.listed, ahead.hostMounts, ahead.files.hasSockets()
	d.mounts = ahead.mounts
	if err != nil || len(problems) > 0 {
		return problems, err
	}
	return nil, nil
}

func newDump(t *Target, o *Options) *dump {
	d := &dump{target: t, opts: o, log: o.Log}
	if d.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		d.log = logrus.NewEntry(silent)
	}
	d.dog = &watchdog.Dog{Launch: o.Watchdog}
	d.frozen.dog = d.dog
	d.initFiles()
	d.sighands = newKin(kcmpSighand)
	d.reached = map[reach]bool{}
	d.homes = map[string]string{}
	d.frozen.threads = map[int]*thread{}
	d.frozen.known, d.frozen.byPID = map[int]bool{}, map[int]*process{}
	d.spaces = map[specs.ID]*specs.Memory{}
	d.frozen.sleeps = map[int]*sleeping.Sleep{}
	d.frozen.remainders = map[int][]byte{}
	d.frozen.watch = sleeping.NewWatch()
	return d
}

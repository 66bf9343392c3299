package checkpoint

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/internal/watchdog"
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
	ready := make(chan bool, 1)
	go func() { ready <- d.watch() }()
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
	create := o.Create
	if create == nil {
		create = func() (*image.Writer, error) { return image.Create(o.Image) }
	}
	if err := d.step("create", func() (err error) { d.out, err = create(); return err }); err != nil {
		return nil, err
	}
	defer func() {
		if err := d.out.Abort(); err != nil {
			d.log.WithError(err).Warn("what is left of an image stays until the next checkpoint")
		}
	}()
	d.data = &dataWriter{out: d.out}

	_ = d.step("watchdog", func() error { d.frozen.watched = <-ready; return nil })
	tracer := ptrace.NewTracer()
	defer tracer.Close()
	if err := tracer.Do(func() error { return d.run(ctx, done) }); err != nil {
		return nil, err
	}
	d.stats.Total = time.Since(start).Microseconds()
	return &d.stats, nil
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
	if err != nil || len(problems) > 0 {
		return problems, err
	}
	if len(ahead.inet.tree) > 0 {
		// Bytes may be under way then. Without the kernel's memory it goes as well.
		_, _ = d.kernelMemory()
	}
	d.readAhead(ahead)
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
	d.frozen.threads = map[int]*thread{}
	d.frozen.known, d.frozen.byPID = map[int]bool{}, map[int]*process{}
	d.spaces = map[specs.ID]*specs.Memory{}
	d.frozen.sleeps = map[int]*sleeping.Sleep{}
	d.frozen.remainders = map[int][]byte{}
	d.frozen.watch = sleeping.NewWatch()
	return d
}

// run is the part of a checkpoint between the first stop and the last release.
// It runs on the tracer's thread.
func (d *dump) run(ctx context.Context, done func() error) (err error) {
	d.facts = newFacts()
	if err := d.step("look", func() error { return d.frozen.look(d.target) }); err != nil {
		return err
	}
	if err := d.data.prepare(); err != nil {
		return err
	}
	begin := time.Now()
	released := false
	release := func() error {
		if released {
			return nil
		}
		released = true
		d.stats.Frozen = time.Since(begin).Microseconds()
		return d.frozen.release(d.target)
	}
	defer func() { err = errors.Join(err, release()) }()

	if err := d.step("freeze", func() error { return d.frozen.freeze(ctx, d.target) }); err != nil {
		return err
	}
	d.stats.Freezing = time.Since(begin).Microseconds()
	strangers := make(chan error, 1)
	go func() { strangers <- d.frozen.strangers(d.target) }()
	if err := d.collect(); err != nil {
		return err
	}
	if d.opts.Frozen != nil {
		if err := d.step("frozen", func() error { return d.opts.Frozen(ctx) }); err != nil {
			return err
		}
	}
	if err := d.save(ctx); err != nil {
		return err
	}
	if err := <-strangers; err != nil {
		return err
	}
	if d.opts.LeaveRunning {
		// All bytes are in the page cache, where the disk may take its time, or have
		// been sent.
		if err := d.step("seal", func() error { return d.out.Seal(ctx) }); err != nil {
			return err
		}
		if err := release(); err != nil {
			return err
		}
	}
	var stats image.Stats
	if err := d.step("commit", func() (err error) { stats, err = d.out.Commit(ctx); return err }); err != nil {
		return err
	}
	d.stats.Bytes = stats.RecordBytes + stats.PageBytes + stats.MemberBytes
	if d.opts.Committed != nil {
		if err := d.step("committed", func() error { return d.opts.Committed(ctx) }); err != nil {
			return err
		}
	}
	if d.opts.LeaveRunning {
		return nil
	}
	if err := d.inet.silence(d); err != nil {
		return err
	}
	if err := d.end(ctx); err != nil {
		return err
	}
	// They stand still up to here, and never run again.
	d.stats.Frozen = time.Since(begin).Microseconds()
	if err := d.step("kill", d.kill); err != nil {
		return errors.Join(err, d.inet.unsilence())
	}
	released = true
	if done != nil {
		return d.step("destroy", done)
	}
	return nil
}

// step runs one step and logs how long it took.
func (d *dump) step(name string, f func() error) error {
	start := time.Now()
	err := f()
	d.log.WithFields(logrus.Fields{"step": name, "us": time.Since(start).Microseconds()}).Debug("checkpoint")
	return err
}

// collect puts together what was frozen and reads /proc again: between being
// listed and being stopped things have changed.
func (d *dump) collect() error {
	d.stopped = now()
	for _, p := range d.frozen.procs {
		err := p.read()
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !p.zombie {
			slices.SortFunc(p.threads, func(a, b *thread) int { return a.order(p) - b.order(p) })
			if len(p.threads) == 0 || !p.headless && p.threads[0].tid != p.pid {
				return p.unsupported("process", "is about to end", "try again")
			}
			if err := p.open(); err != nil {
				return err
			}
			for _, th := range p.threads {
				if th.status, err = procfs.ReadTaskStatus(p.pid, th.tid); err != nil {
					return err
				}
				th.nstid = last(th.status.NSpid, th.tid)
			}
			if p.areas, err = procfs.ReadSmaps(p.at); err != nil {
				return err
			}
		}
		d.procs = append(d.procs, p)
		d.stats.Tasks++
		d.stats.Threads += len(p.threads)
	}
	d.link()
	for _, refuse := range []func() error{d.refuseSeccomp, d.refuseKill} {
		if err := refuse(); err != nil {
			return err
		}
	}
	return d.enterRoot()
}

// order puts the leader before the other threads.
func (th *thread) order(p *process) int {
	if th.tid == p.pid {
		return 0
	}
	return th.tid
}

// save writes everything into the image.
func (d *dump) save(ctx context.Context) error {
	in, err := inject.New()
	if err != nil {
		return err
	}
	defer in.Close()
	d.injector = in
	steps := []struct {
		name string
		run  func() error
	}{
		{"header", d.header},
		{"tasks", d.tasks},
		{"unseen", d.refuseUnseen},
		{"describe", func() error { return d.describe(in) }},
		{"fs", d.saveFS},
		{"files", d.saveFiles},
		{"memory", func() error { return d.saveMemory(ctx) }},
		{"container", func() error { return d.saveContainer(ctx) }},
		{"shared", d.putShared},
		{"records", d.putTasks},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err := d.step(s.name, s.run); err != nil {
			return err
		}
		took := time.Since(start).Microseconds()
		if s.name == "memory" {
			d.stats.Memory = took
		} else {
			d.stats.Write += took
		}
	}
	return nil
}

// tasks makes the records of all processes.
func (d *dump) tasks() error {
	for _, p := range d.procs {
		p.id = d.newID()
		if err := d.task(p); err != nil {
			return &Error{"describe", p.nspid, err}
		}
	}
	return nil
}

// putTasks writes the records of processes and threads, now that all is known
// that they refer to.
func (d *dump) putTasks() error {
	d.markInherited()
	for _, p := range d.procs {
		if p.headless {
			id := d.newID()
			p.record.Threads = append(p.record.Threads, id)
			if err := d.putEnded(id, p); err != nil {
				return err
			}
		}
		for _, th := range p.threads {
			id := d.newID()
			p.record.Threads = append(p.record.Threads, id)
			if err := d.out.Put(id, th.record); err != nil {
				return err
			}
		}
		p.record.Memory, p.record.FDs, p.record.FS = p.memory, p.fds, p.fs
		if err := d.out.Put(p.id, p.record); err != nil {
			return err
		}
	}
	return nil
}

// markInherited counts the seccomp filters that every thread of the container's
// init has: the runtime installed them, and a fresh container has its own.
func (d *dump) markInherited() {
	if d.target.Host || len(d.procs) == 0 {
		return
	}
	common := -1
	for _, p := range d.live() {
		if p.record.Exec {
			continue
		}
		for _, th := range p.threads {
			n := 0
			if s := th.record.Seccomp; s != nil {
				n = len(s.Filters)
			}
			if common < 0 || n < common {
				common = n
			}
		}
	}
	common = min(common, d.target.SeccompFilters)
	for _, p := range d.live() {
		for _, th := range p.threads {
			if s := th.record.Seccomp; s != nil {
				s.Inherited = min(common, len(s.Filters))
			}
		}
	}
}

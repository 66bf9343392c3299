package checkpoint

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/sirupsen/logrus"
)

// run is the part of a checkpoint between the first stop and the last release.
// It runs on the tracer's thread.
func (d *dump) run(ctx context.Context, done func() error) (err error) {
	if d.facts, err = newFacts(); err != nil {
		return err
	}
	err = d.step("look", func() error {
		d.kernelEnds()
		return d.frozen.look(d.target, d.listed.recent())
	})
	if err != nil {
		return err
	}
	if err := d.data.prepare(); err != nil {
		return err
	}
	if d.injector, err = inject.New(); err != nil {
		return err
	}
	defer d.injector.Close()
	if err := d.frozen.prepareHold(d.target); err != nil {
		return err
	}
	stopping := time.Now()
	released := false
	release := func() error {
		if released {
			return nil
		}
		released = true
		d.stats.Frozen = time.Since(stopping).Microseconds()
		return d.frozen.release(d.target)
	}
	defer func() { err = errors.Join(err, release()) }()

	if err := d.step("freeze", func() error { return d.frozen.freeze(ctx, d.target) }); err != nil {
		return err
	}
	d.stats.Freezing = time.Since(stopping).Microseconds()
	strangers := beginning(func() error { return d.frozen.strangers(d.target) })
	if err := d.step("collect", d.collect); err != nil {
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
	if err := d.step("strangers", strangers.wait); err != nil {
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
	d.stats.Frozen = time.Since(stopping).Microseconds()
	d.removal = beginning(d.out.Abort)
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
	procs := d.frozen.procs
	there := make([]bool, len(procs))
	err := sideBySide(len(procs), func(i int) (err error) {
		there[i], err = procs[i].collect()
		return err
	})
	if err != nil {
		return err
	}
	for i, p := range procs {
		if !there[i] {
			continue
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

// collect reads what /proc tells of a process that stands still. It is not there if it has been reaped meanwhile.
func (p *process) collect() (there bool, err error) {
	if err := p.read(); err != nil {
		if gone(err) {
			return false, nil
		}
		return false, err
	}
	if p.zombie {
		return true, nil
	}
	slices.SortFunc(p.threads, func(a, b *thread) int { return a.order(p) - b.order(p) })
	if len(p.threads) == 0 || !p.headless && p.threads[0].tid != p.pid {
		return false, p.unsupported("process", "is about to end", "try again")
	}
	if err := p.open(); err != nil {
		return false, err
	}
	err = sideBySide(len(p.threads), func(i int) (err error) {
		th := p.threads[i]
		th.status, err = procfs.ReadTaskStatus(p.pid, th.tid)
		th.nstid = last(th.status.NSpid, th.tid)
		return err
	})
	if err != nil {
		return false, err
	}
	p.areas, err = procfs.ReadSmaps(p.at)
	return true, err
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
	// After an error nobody else waits for it.
	defer func() { _ = d.tmpfs.wait() }()
	steps := []struct {
		name string
		run  func() error
	}{
		{"tmpfs", d.beginTmpfs},
		{"header", d.header},
		{"tasks", d.tasks},
		{"unseen", d.refuseUnseen},
		{"describe", d.describe},
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

package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/sirupsen/logrus"
)

// Run restores the image into a fresh container. The container's process does
// not run a single instruction of its own. If Run fails nothing of the tree is
// left, and the container is stopped.
func Run(ctx context.Context, c Container, o Options) (*Result, error) {
	return run(ctx, o, func(r *restorer) error { return r.catch(ctx, c) })
}

// Tree restores the image of a host tree in our own namespaces, with its own
// pids, which must be free.
func Tree(ctx context.Context, o Options) (*Result, error) {
	return run(ctx, o, func(r *restorer) error { return r.spawn(ctx) })
}

func run(ctx context.Context, o Options, arrive func(*restorer) error) (*Result, error) {
	start := time.Now()
	r := &restorer{opts: &o, log: o.Log, stats: map[string]int64{}}
	if r.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		r.log = logrus.NewEntry(silent)
	}
	var err error
	if r.img = o.From; r.img == nil {
		if r.img, err = image.Open(o.Image); err != nil {
			return nil, err
		}
		defer r.img.Close()
	}
	if err := r.fits(); err != nil {
		return nil, err
	}
	for _, check := range []func() error{r.fitsMemory, r.plan, r.fitsVDSO} {
		if err := check(); err != nil {
			return nil, fmt.Errorf("image %s: %w", r.img.Path(), err)
		}
	}
	if err := MakeRoom(r.img); err != nil {
		return nil, fmt.Errorf("image %s: %w", r.img.Path(), err)
	}
	if r.reopen, err = newReopener(); err != nil {
		return nil, err
	}
	tracer := ptrace.NewTracer()
	// What is still traced when the tracer ends dies (PTRACE_O_EXITKILL).
	defer tracer.Close()
	err = tracer.Do(func() error {
		err := r.sequence(ctx, arrive)
		if err != nil {
			err = errors.Join(err, r.abandon())
		}
		return errors.Join(err, r.close())
	})
	if err != nil {
		return nil, err
	}
	result := &Result{Root: r.root.pid, Stats: r.stats}
	for _, t := range r.tasks {
		if !t.ghost {
			result.Tasks++
			result.Threads += len(t.threads)
		}
	}
	r.stats["total"] = time.Since(start).Microseconds()
	return result, nil
}

// sequence is the restore itself; it runs on the tracer's thread.
func (r *restorer) sequence(ctx context.Context, arrive func(*restorer) error) error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"placeholder", func() error { return arrive(r) }},
		{"arrange", r.arrange},
		{"container", r.restoreContainer},
		{"leases", r.checkLeases},
		{"files", r.openFiles},
		{"tree", func() error { return r.grow(r.root) }},
		{"devices", r.mayOpenDevices},
		// Nothing runs before the last byte of a stream has been found good.
		{"verify", r.img.Finish},
		{"groups", r.joinGroups},
		{"terminals", r.joinTerminals},
		{"threads", r.makeThreads},
		{"leaders", r.endLeaders},
		{"sockets", r.makeSockets},
		{"descriptors", r.installFiles},
		{"queues", r.fillSockets},
		{"fs", r.restoreFS},
		{"locks", r.restoreLocks},
		{"tasks", r.restoreTasks},
		{"complete", r.finishContainer},
		{"owners", r.restoreOwners},
		{"zombies", r.endTasks},
		{"watches", r.addWatches},
		{"timers", r.armTimers},
		{"window", r.resized},
		{"release", r.release},
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.step(s.name, s.run); err != nil {
			return err
		}
	}
	return nil
}

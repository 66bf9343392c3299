package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/restore"
)

// Bundle implements Standing.
func (c *podmanContainer) Bundle() string { return c.entry.bundle() }

// restore makes a container of podman that stands still the restored tree: podman init
// has podman make all that the container needs (mounts, network, conmon, the
// runtime's container), podman start starts it, and between the two the waiting init
// is seized. So podman has started its own container, as on any other day.
func (c *podmanContainer) restore(ctx context.Context, img *image.Reader, r Request) (*Session, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status != Stopped && status != Created {
		return nil, &StateError{Candidate: c.Candidate(), Status: status,
			Remedy: "stop it first (podman stop), or restore into another container (podman create makes one)"}
	}
	if c.config != nil {
		// What its last configuration tells saves the way there and back.
		if err := CheckBundle(img.Header(), &Bundle{Dir: c.entry.bundle(), Config: c.config}); err != nil {
			return nil, err
		}
	}
	held, err := lockName("podman", c.entry.ID)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if status == Stopped {
		if err := awaitCleanup(ctx, c.entry.ID); err != nil {
			return nil, err
		}
		clocks, err := restore.Clocks(img.Header())
		if err != nil {
			return nil, err
		}
		if err := c.engine.runIn(ctx, clocks, "init", c.entry.ID); err != nil {
			return nil, err
		}
	}
	s := &Session{container: c, stdio: new(stdio)}
	if err := c.begin(ctx, s, img, r); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
		defer cancel()
		return nil, errors.Join(err, c.Kill(ctx))
	}
	return s, nil
}

// begin restores into the container that podman has made and not started.
func (c *podmanContainer) begin(ctx context.Context, s *Session, img *image.Reader, r Request) error {
	var err error
	if c.under, err = c.engine.runtimeState(ctx, &c.entry); err != nil {
		return err
	}
	if c.under == nil {
		return fmt.Errorf("%s: its runtime's state is not found: rethaw knows containers that podman runs with runc or crun in their own directories", c.Candidate())
	}
	bundle, err := LoadBundle(c.entry.bundle())
	if err != nil {
		return err
	}
	if err := CheckBundle(img.Header(), bundle); err != nil {
		return err
	}
	if err := CheckRootfs(img, bundle); err != nil {
		return err
	}
	if r.ready != nil {
		if err := r.ready(); err != nil {
			return err
		}
	}
	s.init = process{pid: c.under.Candidate().Pid}
	if c.starting, err = c.prepareStart(ctx, r); err != nil {
		return err
	}
	s.Result, err = restore.Run(ctx, restore.Container{
		Init:     s.init.pid,
		Start:    c.starting.run,
		Patience: startPatience,
		End:      func() error { return c.End(ctx) },
		Rootfs:   bundle.Rootfs,
		Bundle:   bundle.Dir,
		Terminal: bundle.Terminal(),
	}, r.Options)
	if err != nil {
		return err
	}
	if r.Detach {
		// podman writes down that the container runs.
		select {
		case <-c.starting.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	} else {
		s.attached = c.starting
	}
	return writePid(r.PidFile, s.init.pid)
}

// Kill ends a container that was to be restored, whatever its state. It then is as it was
// before.
func (c *podmanContainer) Kill(ctx context.Context) error {
	switch {
	case c.under == nil:
		return c.engine.run(ctx, "container", "cleanup", c.entry.ID)
	case c.starting == nil || !c.starting.called.Load():
		// Nothing ran in it. Its end is no failure to podman, which goes back to
		// the state before init.
		if err := (process{pid: c.under.Candidate().Pid}).kill(); err != nil {
			return err
		}
	case c.ending == nil:
		if err := c.engine.run(ctx, "stop", "--time", "0", c.entry.ID); err != nil {
			return err
		}
	}
	return c.Destroy(ctx)
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
)

// podmanContainer is one container of podman.
type podmanContainer struct {
	engine *Podman
	entry  stored
	// config is the configuration of the last start, nil before the first.
	config *Config
	// under is the runtime's container, nil if there is none now.
	under Container
	// paused is the freezer of a container that podman has paused, as Target saw it.
	paused string
	// ending gets the result of podman stop, once End was called.
	ending chan error
	// starting is podman start, in a restore.
	starting *podmanStart
	// mounted is set while podman shows the root filesystem to us.
	mounted bool
}

// Candidate implements Container.
func (c *podmanContainer) Candidate() Candidate {
	who := Candidate{Engine: "podman", ID: c.entry.ID, Name: c.entry.name(), Root: c.engine.store.graph, Created: c.entry.Created}
	if c.under != nil {
		who.Pid = c.under.Candidate().Pid
	}
	return who
}

// beneath implements wrapper.
func (c *podmanContainer) beneath() Container { return c.under }

// Status implements Container.
func (c *podmanContainer) Status(ctx context.Context) (Status, error) {
	if c.under == nil {
		return Stopped, nil
	}
	return c.under.Status(ctx)
}

// Target implements Container: all that is to be known the runtime knows. conmon's
// pipes, or its terminal, are the descriptors that the runtime has recorded.
func (c *podmanContainer) Target(ctx context.Context) (checkpoint.Target, error) {
	if c.under == nil {
		return checkpoint.Target{}, &StateError{Candidate: c.Candidate(), Status: Stopped, Remedy: "only a running container can be checkpointed"}
	}
	t, err := c.under.Target(ctx)
	if err != nil {
		return t, err
	}
	t.Engine, t.Container, t.Root = "podman", c.Candidate().Called(), c.engine.store.graph
	t.Bundle = c.entry.bundle()
	c.paused = ""
	if t.Paused {
		c.paused = t.Freezer
	}
	return t, nil
}

// Endable implements ender: with the end of a container made with --rm podman
// removes all that belongs to it.
func (c *podmanContainer) Endable(image string) error {
	image, err := filepath.Abs(image)
	if err != nil {
		return err
	}
	below, err := filepath.Rel(c.entry.dir, image)
	inside := err == nil && below != ".." && !strings.HasPrefix(below, "../")
	if c.config != nil && inside && strings.EqualFold(c.config.Annotations["io.podman.annotations.autoremove"], "true") {
		return fmt.Errorf("%w: %s was made with --rm, so that podman removes it at its end, and the image with it: name another directory with --image, or use --leave-running",
			ErrUnsupported, c.Candidate())
	}
	return nil
}

// endPatience is how long podman may take to end a container.
const endPatience = 60 * time.Second

// End implements ender: podman stop is what tells podman that the end is wished, so that
// a restart policy does not start a fresh program. Its kill hits tasks in ptrace stops;
// init then waits for us to reap the others (zap_pid_ns_processes in the kernel), and podman
// for init, so that only the beginning is waited for.
func (c *podmanContainer) End(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	init := process{pid: c.Candidate().Pid}
	if err := c.unpause(ctx); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.engine.run(ctx, "stop", "--time", "0", c.entry.ID) }()
	for deadline := time.Now().Add(endPatience); time.Now().Before(deadline); {
		if init.dying() {
			c.ending = ended
			return nil
		}
		select {
		case err := <-ended:
			if err == nil && init.alive() {
				err = &RuntimeError{Program: c.engine.program, Op: "stop", Err: errors.New("the container's init lives on")}
			}
			if err != nil {
				return err
			}
			ended <- nil
			c.ending = ended
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return &RuntimeError{Program: c.engine.program, Op: "stop",
		Err: fmt.Errorf("it did not kill the container within %v: %w", endPatience, os.ErrDeadlineExceeded)}
}

// unpause has podman take back the pause of a container, since it stops none that is
// paused. The checkpoint has turned the freezer off, and the runtime resumes only what
// is frozen: it is turned on again for that. No task runs, being held by us.
func (c *podmanContainer) unpause(ctx context.Context) error {
	if c.paused == "" {
		return nil
	}
	if err := freeze(c.paused); err != nil {
		return err
	}
	return c.engine.run(ctx, "unpause", c.entry.ID)
}

// Destroy implements Container. The runtime's state is podman's to remove: its cleanup process
// does so, which conmon starts when it sees the end of init.
func (c *podmanContainer) Destroy(ctx context.Context) error {
	if c.under == nil {
		return nil
	}
	if c.ending != nil {
		select {
		case err := <-c.ending:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	who := c.under.Candidate()
	if err := (process{pid: who.Pid}).await(ctx); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(who.Root, who.ID)); errors.Is(err, os.ErrNotExist) {
			return awaitCleanup(ctx, c.entry.ID)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			// conmon may have died: whoever asks podman has it clean up.
			return c.engine.run(context.WithoutCancel(ctx), "container", "cleanup", c.entry.ID)
		}
	}
}

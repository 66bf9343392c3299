package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
)

// Checkpoint takes a checkpoint of a container. Without o.Image it goes beside the
// bundle (ImageDir). Unless o.LeaveRunning is set the container is gone afterwards
// and its id free. It fails with ErrBusy, ErrState, ErrUnsupported or an error of
// package checkpoint.
func Checkpoint(ctx context.Context, c Container, o checkpoint.Options) (*checkpoint.Stats, error) {
	return checkpointAs(ctx, c, o, "")
}

// checkpointAs is Checkpoint for an image that its user finds at place; "" for
// o.Image.
func checkpointAs(ctx context.Context, c Container, o checkpoint.Options, place string) (*checkpoint.Stats, error) {
	held, t, err := resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	if o.Create == nil {
		if o.Image, err = imageFor(c, t, o.Image); err != nil {
			return nil, err
		}
	}
	if place == "" {
		place = o.Image
	}
	var done func() error
	if !o.LeaveRunning {
		if err := endable(c, place); err != nil {
			return nil, err
		}
		if e, ok := c.(ender); ok {
			t.End = e.End
		}
		if d, ok := c.(doomed); ok {
			d.doom()
		}
		done = func() error { return remove(ctx, c, place) }
	}
	return checkpoint.Run(ctx, t, o, done)
}

// doomed is a container that prepares its Destroy beside the checkpoint when it is told that it comes.
type doomed interface{ doom() }

// ImageOf is the directory into which Checkpoint writes with image as o.Image.
func ImageOf(ctx context.Context, c Container, image string) (string, error) {
	if image != "" {
		return image, nil
	}
	t, err := c.Target(ctx)
	if err != nil {
		return "", err
	}
	return imageFor(c, t, image)
}

// imageFor is image, or beside the bundle.
func imageFor(c Container, t checkpoint.Target, image string) (string, error) {
	if image != "" {
		return image, nil
	}
	// The bundle of a task is gone with it.
	if _, passing := c.(*task); passing || t.Bundle == "" {
		return "", fmt.Errorf("%w: %s has no lasting place for an image: name a directory with --image",
			ErrUnsupported, c.Candidate())
	}
	return ImageDir(t.Bundle), nil
}

// Check is the preflight: what a checkpoint of the container would refuse. Nothing
// is stopped, so no lock is needed; the second result is about the check itself.
func Check(ctx context.Context, c Container, o checkpoint.Options) ([]error, error) {
	if err := running(ctx, c); err != nil {
		return nil, err
	}
	t, err := c.Target(ctx)
	if err != nil {
		return nil, err
	}
	return checkpoint.Check(ctx, t, o)
}

// resolve locks a container, looks at its state and finds what it consists of.
func resolve(ctx context.Context, c Container) (*Lock, checkpoint.Target, error) {
	var t checkpoint.Target
	// The state comes first, for a clear word about a container without an init,
	// and again under the lock: who held it may have killed the container.
	if err := running(ctx, c); err != nil {
		return nil, t, err
	}
	pid := c.Candidate().Pid
	_, start, err := processStat(pid)
	if err != nil {
		return nil, t, fmt.Errorf("%s: init: %w", c.Candidate(), err)
	}
	held, err := lockContainer(c.Candidate(), process{pid: pid, start: start})
	if err != nil {
		return nil, t, err
	}
	if err = running(ctx, c); err == nil {
		t, err = c.Target(ctx)
	}
	if err != nil {
		held.Unlock()
		return nil, t, err
	}
	return held, t, nil
}

// running checks that a container is in a state that can be saved.
func running(ctx context.Context, c Container) error {
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	remedies := map[Status]string{
		Stopped:  "only a running container can be checkpointed",
		Created:  "start it first, there is nothing in it yet",
		Creating: "start it first, there is nothing in it yet",
	}
	if remedy, bad := remedies[status]; bad {
		return &StateError{Candidate: c.Candidate(), Status: status, Remedy: remedy}
	}
	return nil
}

// remove destroys a container whose tasks are killed. Its image is complete by then,
// so that no cancellation may stop this halfway.
func remove(ctx context.Context, c Container, image string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := c.Destroy(ctx); err != nil {
		who := c.Candidate()
		return fmt.Errorf("the image in %s is complete and the tasks are killed, but removing %s failed (%s delete --force %s does it): %w",
			image, who, who.Engine, who.ID, err)
	}
	return nil
}

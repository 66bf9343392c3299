package hook

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/internal/private"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/plugin"
)

// take takes one image and notes what became of it.
func (a *agent) take(ctx context.Context, j job) error {
	begin := time.Now()
	log := a.log.WithField("trigger", j.trigger).WithField("image", j.path)
	err := a.capture(ctx, j)
	// Agents live long and take images seldom.
	debug.FreeOSMemory()
	t := Taken{Trigger: j.trigger, Image: j.path, At: begin}
	if err != nil {
		t.Error = err.Error()
		log.Error(err)
	} else {
		log.WithField("took", time.Since(begin)).Info("image taken")
	}
	if noted := a.notes.took(t); noted != nil {
		log.Error(noted)
	}
	if err == nil && j.many {
		if err := a.prune(filepath.Dir(j.path)); err != nil {
			log.Error(err)
		}
	}
	return err
}

// capture takes one image.
func (a *agent) capture(ctx context.Context, j job) error {
	c, err := a.container(ctx)
	if err != nil {
		return err
	}
	if err := private.MkdirAll(filepath.Dir(j.path)); err != nil {
		return fmt.Errorf("a directory for the image: %w", err)
	}
	o := checkpoint.Options{Image: j.path, LeaveRunning: !j.stop, FileLocks: a.plan.Wishes.FileLocks, Tool: a.tool, Log: a.log, Watchdog: watchdog.Launch}
	if a.door != nil {
		o.Answers = a.door.answers
	}
	to, err := sealed.Recipients(a.plan.Wishes.EncryptTo)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		_, err = plugin.Capture(ctx, c, o, plugin.Export{To: to})
		// Somebody is taking an image of their own, or the runtime has not written down yet
		// that the container runs, though its program does.
		if n == busyTries || !errors.Is(err, plugin.ErrBusy) && !starting(err) {
			return err
		}
		if err := a.init.pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// starting tells that the container is not running yet.
func starting(err error) bool {
	var state *plugin.StateError
	return errors.As(err, &state) && (state.Status == plugin.Created || state.Status == plugin.Creating)
}

// busyTries is how many seconds another rethaw may work on the container, or its runtime.
const busyTries = 30

// container finds the container by the runtime that made it.
func (a *agent) container(ctx context.Context) (plugin.Container, error) {
	r, err := plugin.NewRegistry(plugin.Choice{Runtime: a.plan.Runtime, Root: a.plan.Root})
	if err != nil {
		return nil, err
	}
	c, err := r.Find(ctx, a.plan.ID)
	if err != nil {
		return nil, err
	}
	if found := c.Candidate(); found.Pid != a.plan.Init {
		return nil, fmt.Errorf("%s has the init %d, not %d: %w", found, found.Pid, a.plan.Init, errEnded)
	}
	return c, nil
}

package hook

import (
	"context"
	"errors"
	"time"
)

// job asks for an image.
type job struct {
	trigger string
	// path is the directory, many whether it is one of several.
	path string
	many bool
	// stop ends the container once the image is there.
	stop bool
	// done takes what became of it.
	done chan error
}

// trigger waits for one thing that an annotation names. once is told by tries:
// see one.
type trigger struct {
	name string
	// wait returns when the image is to be taken.
	wait func(ctx context.Context, a *agent) error
}

// once lists the triggers of the image that is taken once.
func (w *Wishes) triggers() []trigger {
	var all []trigger
	if w.After != 0 {
		all = append(all, trigger{"after", waitAfter})
	}
	if w.Listening != 0 {
		all = append(all, trigger{"listening", waitListening})
	}
	if w.File != "" {
		all = append(all, trigger{"file", waitFile})
	}
	return all
}

// serve takes images as long as the container runs.
func (a *agent) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := a.plan.Wishes
	if w.once() && !a.fromOnce() {
		go a.first(ctx, w.triggers())
	}
	if w.Every != 0 {
		go a.every(ctx)
	}
	if a.door != nil {
		go a.door.serve(ctx, a)
	}
	for {
		select {
		case <-a.init.ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case j := <-a.jobs:
			j.done <- a.take(ctx, j)
		}
	}
}

// fromOnce tells whether the container was restored from the very image that it would
// be asked for again: it comes from it, there is nothing new in it.
func (a *agent) fromOnce() bool {
	return a.plan.Wishes.Restore != "" && a.plan.imagePath(false, "", time.Time{}) == a.plan.restoreImage()
}

// ask has an image taken and waits for it.
func (a *agent) ask(ctx context.Context, j job) error {
	j.done = make(chan error, 1)
	select {
	case a.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// first waits for the first of the triggers and has the image taken.
func (a *agent) first(ctx context.Context, triggers []trigger) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	fired := make(chan string, len(triggers))
	for _, t := range triggers {
		go func() {
			err := t.wait(waiting, a)
			switch {
			case err == nil:
				fired <- t.name
			case !errors.Is(err, errEnded) && waiting.Err() == nil:
				a.log.WithField("trigger", t.name).Error(err)
			}
		}()
	}
	select {
	case <-ctx.Done():
	case name := <-fired:
		cancel()
		a.tryOnce(ctx, name)
	}
}

// tries is how often an image that is taken once is tried for: what cannot be saved at
// this moment, as a connection to the outside, may be gone in the next.
const tries = 6

// tryOnce has the image taken, in several attempts.
func (a *agent) tryOnce(ctx context.Context, name string) {
	pause := time.Second
	for n := range tries {
		err := a.ask(ctx, job{trigger: name, path: a.plan.imagePath(false, "", time.Now()), stop: a.plan.Wishes.Stop})
		if err == nil || n == tries-1 || a.init.pause(ctx, pause) != nil {
			return
		}
		pause *= 2
	}
}

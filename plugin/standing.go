package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
)

// keeper is an engine whose containers outlast their end: an image is restored into one
// that is there and stands still.
type keeper interface {
	Engine
	// keeps tells that it is one.
	keeps()
}

// Standing is a container of an engine whose containers outlast their end.
type Standing interface {
	Container
	// Bundle is its directory, in which its image lies (ImageDir).
	Bundle() string
}

// restorable is one that can be restored into.
type restorable interface {
	Standing
	// restore starts it as the tree of the image.
	restore(ctx context.Context, img *image.Reader, r Request) (*Session, error)
}

// standing returns the container of a keeper that a restore is meant for, nil if a
// fresh one is to be made from a bundle: when there is a bundle, named or in the current
// directory, or no keeper has such a container.
func (r *Registry) standing(ctx context.Context, s Spec) (restorable, error) {
	if len(r.engines) == 1 {
		return r.onlyStanding(ctx, s)
	}
	if s.Bundle != "" {
		return nil, nil
	}
	if _, err := os.Stat("config.json"); err == nil {
		return nil, nil
	}
	keepers := new(Registry)
	for _, e := range r.engines {
		if k, ok := e.(keeper); ok {
			keepers.engines = append(keepers.engines, k)
		}
	}
	c, err := keepers.Find(ctx, s.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return asRestorable(c)
}

// onlyStanding is standing for the one engine that was chosen.
func (r *Registry) onlyStanding(ctx context.Context, s Spec) (restorable, error) {
	k, ok := r.engines[0].(keeper)
	if !ok {
		return nil, nil
	}
	if s.Bundle != "" {
		return nil, fmt.Errorf("%w: %s has the bundles of its containers itself: leave out --bundle", ErrUnsupported, k.Name())
	}
	c, err := r.Find(ctx, s.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: make it first (%s create --name %s ...)", err, k.Name(), s.ID)
	}
	if err != nil {
		return nil, err
	}
	return asRestorable(c)
}

// asRestorable takes a container of a keeper for what it is.
func asRestorable(c Container) (restorable, error) {
	if into, ok := c.(restorable); ok {
		return into, nil
	}
	return nil, fmt.Errorf("%w: %s cannot be restored into", ErrUnsupported, c.Candidate())
}

// Standing returns the containers that stand still, the one that was made last at the end.
func (r *Registry) Standing(ctx context.Context) ([]Standing, error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	var still []Standing
	for _, c := range all {
		s, ok := c.(Standing)
		if !ok {
			continue
		}
		status, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		if status == Stopped || status == Created {
			still = append(still, s)
		}
	}
	if len(still) == 0 {
		return nil, fmt.Errorf("%w: none stands still that could be restored (asked %s)", ErrNotFound, r.names())
	}
	return still, nil
}

// ImageOf is the directory from which Restore reads.
func (r *Registry) ImageOf(ctx context.Context, q Request) (string, error) {
	if q.Options.Image != "" {
		return q.Options.Image, nil
	}
	if q.Spec.ID != "" {
		into, err := r.standing(ctx, q.Spec)
		if err != nil {
			return "", err
		}
		if into != nil {
			return ImageDir(into.Bundle()), nil
		}
	}
	if q.Spec.Bundle == "" {
		q.Spec.Bundle = "."
	}
	return ImageDir(q.Spec.Bundle), nil
}

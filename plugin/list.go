package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// listStates loads every container that has a directory in one of the state
// directories of a runtime. One that goes away meanwhile is left out.
func listStates(engine string, roots []string, load func(root, id string) (Container, error)) ([]Container, error) {
	var found []Container
	var failed error
	for _, root := range roots {
		entries, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("listing the containers of %s: %w", engine, err))
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			c, err := load(root, e.Name())
			switch {
			case errors.Is(err, os.ErrNotExist):
			case err != nil:
				failed = errors.Join(failed, fmt.Errorf("reading the state of %s container %q in %s: %w", engine, e.Name(), root, err))
			default:
				found = append(found, c)
			}
		}
	}
	return found, failed
}

// List returns all containers of the engines in use, each once, the newest last.
func (r *Registry) List(ctx context.Context) ([]Container, error) {
	var all []Container
	var failed error
	for _, e := range r.engines {
		found, err := e.List(ctx)
		failed = errors.Join(failed, err)
		all = append(all, found...)
	}
	all = once(all)
	slices.SortStableFunc(all, func(a, b Container) int {
		return a.Candidate().Created.Compare(b.Candidate().Created)
	})
	return all, failed
}

// Running returns all containers that can be checkpointed now, the newest last.
func (r *Registry) Running(ctx context.Context) ([]Container, error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	var alive []Container
	for _, c := range all {
		status, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		if status == Running || status == Paused {
			alive = append(alive, c)
		}
	}
	if len(alive) == 0 {
		return nil, fmt.Errorf("%w: none is running (asked %s)", ErrNotFound, r.names())
	}
	return alive, nil
}

// Latest returns the container that was made last, whatever its state.
func (r *Registry) Latest(ctx context.Context) (Container, error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is none (asked %s)", ErrNotFound, r.names())
	}
	return all[len(all)-1], nil
}

// names lists the engines for a message.
func (r *Registry) names() string {
	names := make([]string, len(r.engines))
	for i, e := range r.engines {
		names[i] = e.Name()
	}
	return strings.Join(names, ", ")
}

// once leaves out the containers of runtimes that lie beneath those of managers: they
// are the same.
func once(found []Container) []Container {
	type key struct{ engine, id, root string }
	keyOf := func(c Container) key {
		who := c.Candidate()
		return key{who.Engine, who.ID, filepath.Clean(who.Root)}
	}
	beneath := make(map[key]bool)
	for _, c := range found {
		if w, ok := c.(wrapper); ok && w.beneath() != nil {
			beneath[keyOf(w.beneath())] = true
		}
	}
	return slices.DeleteFunc(found, func(c Container) bool { return beneath[keyOf(c)] })
}

package plugin

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Choice chooses engines, as the options --runtime and --root do.
type Choice struct {
	// Runtime is the name of a runtime or the path of its program, "" for all
	// that are known.
	Runtime string
	// Root is the runtime's state directory, "" for its defaults.
	Root string
}

// makers are the engines by name, in the order in which they are asked.
func makers() []struct {
	name string
	make func(program, root string) Engine
} {
	return []struct {
		name string
		make func(program, root string) Engine
	}{
		{"runc", func(p, r string) Engine { return NewRunc(p, r) }},
		{"crun", func(p, r string) Engine { return NewCrun(p, r) }},
		{"podman", func(p, r string) Engine { return NewPodman(p, r) }},
		{"containerd", func(_, r string) Engine { return NewContainerd(r) }},
		{"docker", func(_, r string) Engine { return NewDocker(r) }},
	}
}

// Registry is the engines in use.
type Registry struct {
	engines []Engine
}

// NewRegistry returns the engines that c chooses. A program is taken for the engine
// whose name its own contains ("/opt/runc-1.3/runc.amd64" is a runc).
func NewRegistry(c Choice) (*Registry, error) {
	r := new(Registry)
	var known []string
	for _, m := range makers() {
		known = append(known, m.name)
		switch {
		case c.Runtime == "":
			r.engines = append(r.engines, m.make(m.name, c.Root))
		case strings.Contains(filepath.Base(c.Runtime), m.name):
			r.engines = append(r.engines, m.make(c.Runtime, c.Root))
		}
	}
	if len(r.engines) == 0 {
		return nil, fmt.Errorf("%w %q: rethaw knows %s, and programs with such a name",
			ErrUnknownRuntime, c.Runtime, strings.Join(known, ", "))
	}
	return r, nil
}

// unable is an engine that makes no container from a bundle.
type unable interface {
	Engine
	// cannot tells so, and what to do instead.
	cannot() error
}

// Engine returns the engine to make a fresh container: the one called name, or else
// the first that can.
func (r *Registry) Engine(name string) Engine {
	first := r.engines[0]
	for i, e := range slices.Backward(r.engines) {
		if _, no := e.(unable); no && i > 0 {
			continue
		}
		if e.Name() == name {
			return e
		}
		first = e
	}
	return first
}

// Find returns the one container that is called name. It fails with ErrNotFound or
// ErrAmbiguous; an engine whose state cannot be read fails the search only if no other
// has the container.
func (r *Registry) Find(ctx context.Context, name string) (Container, error) {
	var found []Container
	var failed error
	for _, e := range r.engines {
		c, err := e.Find(ctx, name)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		found = append(found, c...)
	}
	found = once(found)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		e := &AmbiguousError{Name: name}
		for _, c := range found {
			e.Candidates = append(e.Candidates, c.Candidate())
		}
		return nil, e
	case failed != nil:
		return nil, failed
	}
	return nil, fmt.Errorf("%w: %q (asked %s; another state directory is given with --root)",
		ErrNotFound, name, r.names())
}

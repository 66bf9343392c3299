package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Podman is podman, run by root. It keeps its containers in a store
// (podman_storage.go), makes them with runc or crun beneath conmon, which watches
// over each one, and has the runtime's state in the runtime's own place, under
// the full id.
//
// Containers are found by reading the store and the runtime's state: one call of
// podman costs 100 ms and more. All changes are left to podman's program, which alone can
// keep its database right.
type Podman struct {
	podmanCommands
	store    storage
	runtimes []Engine
}

// NewPodman returns the engine for a program (a name in PATH or a path) and a graph root
// (podman's own --root), "" for podman's own.
func NewPodman(program, root string) *Podman {
	store := podmanStorage(root)
	return &Podman{
		podmanCommands: podmanCommands{program: program, store: store},
		store:          store,
		runtimes:       []Engine{NewRunc("runc", ""), NewCrun("crun", "")},
	}
}

// Name implements Engine.
func (p *Podman) Name() string { return "podman" }

// keeps implements keeper.
func (p *Podman) keeps() {}

// Find implements Engine: by name, id, or the beginning of an id.
func (p *Podman) Find(ctx context.Context, name string) ([]Container, error) {
	if !validID(name) {
		return nil, nil
	}
	all, err := p.store.containers()
	if err != nil {
		return nil, err
	}
	return p.load(ctx, match(all, name))
}

// List implements Engine.
func (p *Podman) List(ctx context.Context) ([]Container, error) {
	all, err := p.store.containers()
	if err != nil {
		return nil, err
	}
	return p.load(ctx, all)
}

// load resolves entries of the store. Others keep containers there too: they are left out.
func (p *Podman) load(ctx context.Context, entries []stored) ([]Container, error) {
	var found []Container
	for _, entry := range entries {
		config, err := readConfig(filepath.Join(entry.bundle(), "config.json"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return found, fmt.Errorf("podman container %q: %w", entry.name(), err)
		}
		if config != nil && managerOf("", func(key string) string { return config.Annotations[key] }) != "podman" {
			continue
		}
		c := &podmanContainer{engine: p, entry: entry, config: config}
		if c.under, err = p.runtimeState(ctx, &entry); err != nil {
			return found, err
		}
		found = append(found, c)
	}
	return found, nil
}

// runtimeState returns the runtime's container of an entry, nil if there is none now.
func (p *Podman) runtimeState(ctx context.Context, entry *stored) (Container, error) {
	for _, e := range p.runtimes {
		found, err := e.Find(ctx, entry.ID)
		if err != nil {
			return nil, fmt.Errorf("podman container %q: %w", entry.name(), err)
		}
		// Another store may have made one with the same id, though never podman.
		found = slices.DeleteFunc(found, func(c Container) bool { return c.Candidate().Pid == 0 })
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return nil, nil
}

// Create implements Engine.
func (p *Podman) Create(context.Context, Spec) (Fresh, error) { return nil, p.cannot() }

// cannot implements unable: podman's containers are made by podman, from its images.
func (p *Podman) cannot() error {
	return fmt.Errorf("%w: podman makes no container from a bundle: make one with podman create and restore into it", ErrUnsupported)
}

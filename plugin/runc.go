package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/rethaw/rethaw/checkpoint"
)

// Runc is the runc runtime. Its containers are read with its own library from
// ROOT/ID/state.json; they are made by its program.
type Runc struct {
	program string
	roots   []string
}

// NewRunc returns the engine for a program (a name in PATH or a path) and a state
// directory, "" for those that runc uses by default.
func NewRunc(program, root string) *Runc {
	return &Runc{program: program, roots: stateRoots("runc", root)}
}

// stateRoots returns root, or the defaults of the OCI runtimes: /run/NAME, and
// $XDG_RUNTIME_DIR/NAME for containers without root.
func stateRoots(name, root string) []string {
	if root != "" {
		if abs, err := filepath.Abs(root); err == nil {
			root = abs
		}
		return []string{root}
	}
	roots := []string{filepath.Join("/run", name)}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if extra := filepath.Join(dir, name); extra != roots[0] {
			roots = append(roots, extra)
		}
	}
	return roots
}

// Name implements Engine.
func (r *Runc) Name() string { return "runc" }

// Find implements Engine.
func (r *Runc) Find(ctx context.Context, name string) ([]Container, error) {
	var found []Container
	for _, root := range r.roots {
		c, err := r.load(root, name)
		switch {
		case errors.Is(err, libcontainer.ErrNotExist), errors.Is(err, libcontainer.ErrInvalidID):
			continue
		case err != nil:
			return found, fmt.Errorf("reading the state of runc container %q in %s: %w", name, root, err)
		}
		found = append(found, c)
	}
	return found, nil
}

// load reads one container.
func (r *Runc) load(root, id string) (*runcContainer, error) {
	c, err := libcontainer.Load(root, id)
	if err != nil {
		return nil, err
	}
	state, err := c.State()
	if err != nil {
		return nil, err
	}
	return &runcContainer{
		commands: r.commands(root),
		c:        c,
		config:   c.Config(),
		cgroups:  state.CgroupPaths,
		root:     root,
		stdio:    state.ExternalDescriptors,
		init:     process{pid: state.InitProcessPid, start: state.InitProcessStartTime},
	}, nil
}

// commands returns the program set to one state directory.
func (r *Runc) commands(root string) commands {
	return commands{name: "runc", program: r.program, root: root}
}

// Create implements Engine.
func (r *Runc) Create(ctx context.Context, s Spec) (Fresh, error) {
	root := r.roots[0]
	if _, err := os.Stat(filepath.Join(root, s.ID)); err == nil {
		return nil, existsError("runc", s.ID, root)
	}
	cmds := r.commands(root)
	if err := cmds.create(ctx, s); err != nil {
		return nil, err
	}
	c, err := r.load(root, s.ID)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the state of the fresh runc container %q: %w", s.ID, err),
			cmds.deleteForce(ctx, s.ID))
	}
	return c, nil
}

// runcContainer is one container of runc.
type runcContainer struct {
	commands
	c       *libcontainer.Container
	config  configs.Config
	cgroups map[string]string
	root    string
	stdio   []string
	init    process
}

// Candidate implements Container.
func (c *runcContainer) Candidate() Candidate {
	return Candidate{Engine: "runc", ID: c.c.ID(), Root: c.root, Pid: c.init.pid}
}

// Status implements Container. libcontainer compares the start time of the init with
// the recorded one, and an init that waits in exec.fifo counts as created.
func (c *runcContainer) Status(ctx context.Context) (Status, error) {
	status, err := c.c.Status()
	if err != nil {
		return "", fmt.Errorf("%s: status: %w", c.Candidate(), err)
	}
	// A frozen cgroup outlives the tasks in it: libcontainer says paused then.
	if status == libcontainer.Paused && !c.init.alive() {
		return Stopped, nil
	}
	return Status(status.String()), nil
}

// dirs returns the container's cgroups as runc recorded them.
func (c *runcContainer) dirs() []string { return slices.Collect(maps.Values(c.cgroups)) }

// Target implements Container.
func (c *runcContainer) Target(ctx context.Context) (checkpoint.Target, error) {
	if err := ownNamespace(c.Candidate(), c.init); err != nil {
		return checkpoint.Target{}, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return checkpoint.Target{}, err
	}
	t := checkpoint.Target{
		Engine:    "runc",
		Container: c.c.ID(),
		Root:      c.root,
		Init:      c.init.pid,
		Rootfs:    c.config.Rootfs,
		Bundle:    bundleLabel(c.config.Labels),
		Paused:    status == Paused,
		Stdio:     c.stdio,
	}
	if c.config.Seccomp != nil {
		t.SeccompFilters = 1
	}
	t.Cgroups, t.Freezer = cgroupDirs(c.dirs())
	t.Terminal = bundleTerminal(t.Bundle)
	return t, nil
}

// Destroy implements Container. It is done in process; runc's program is asked where
// the library cannot (an older state file, hooks that fail).
func (c *runcContainer) Destroy(ctx context.Context) error {
	_, freezer := cgroupDirs(c.dirs())
	if err := thaw(freezer); err != nil {
		return err
	}
	if err := c.init.await(ctx); err != nil {
		return err
	}
	if err := c.c.Destroy(); err == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.root, c.c.ID())); errors.Is(err, os.ErrNotExist) {
		// What failed came after the removal: a poststop hook. runc ignores it as
		// well, and there is nothing left to delete.
		return nil
	}
	return c.deleteForce(ctx, c.c.ID())
}

// Start implements Fresh.
func (c *runcContainer) Start(ctx context.Context) error { return c.start(ctx, c.c.ID()) }

// Kill implements Fresh.
func (c *runcContainer) Kill(ctx context.Context) error {
	if err := c.init.kill(); err != nil {
		return err
	}
	return c.Destroy(ctx)
}

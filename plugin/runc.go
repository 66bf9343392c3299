package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/rethaw/rethaw/checkpoint"
)

// Runc is the runc runtime. It keeps ROOT/ID/state.json, and beside it exec.fifo as long as
// a container is not started. Containers are made by its program and removed by its
// library.
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
	if !validID(name) {
		return nil, nil
	}
	var found []Container
	for _, root := range r.roots {
		c, err := r.load(root, name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return found, fmt.Errorf("reading the state of runc container %q in %s: %w", name, root, err)
		}
		found = append(found, c)
	}
	return found, nil
}

// List implements Engine.
func (r *Runc) List(ctx context.Context) ([]Container, error) {
	return listStates("runc", r.roots, func(root, id string) (Container, error) { return r.load(root, id) })
}

// load reads one container. A missing one gives os.ErrNotExist.
func (r *Runc) load(root, id string) (*runcContainer, error) {
	data, err := os.ReadFile(filepath.Join(root, id, "state.json"))
	if err != nil {
		return nil, err
	}
	state, err := parseRuncState(data)
	if err != nil {
		return nil, err
	}
	return &runcContainer{
		commands: r.commands(root),
		id:       id,
		state:    state,
		init:     process{pid: state.Pid, start: state.Start},
		library:  sync.OnceValues(func() (*libcontainer.Container, error) { return libcontainer.Load(root, id) }),
	}, nil
}

// runcState are the fields of runc's state.json that matter for finding a container
// (libcontainer.State). Decoding all of it costs a millisecond, so that libcontainer
// comes in where its knowledge is needed alone: for the end of a container.
type runcState struct {
	ID      string            `json:"id"`
	Pid     int               `json:"init_process_pid"`
	Start   uint64            `json:"init_process_start"`
	Cgroups map[string]string `json:"cgroup_paths"`
	Stdio   []string          `json:"external_descriptors"`
	Created time.Time         `json:"created"`
	Config  struct {
		Rootfs  string          `json:"rootfs"`
		Labels  []string        `json:"labels"`
		Seccomp json.RawMessage `json:"seccomp"`
	} `json:"config"`
}

// parseRuncState decodes a state file.
func parseRuncState(data []byte) (runcState, error) {
	var s runcState
	if err := json.Unmarshal(data, &s); err != nil {
		return s, err
	}
	if s.Pid < 0 || s.ID == "" {
		return s, fmt.Errorf("id %q and pid %d in the state", s.ID, s.Pid)
	}
	return s, nil
}

// commands returns the program set to one state directory.
func (r *Runc) commands(root string) commands {
	return commands{name: "runc", program: r.program, root: root}
}

// Create implements Engine.
func (r *Runc) Create(ctx context.Context, s Spec) (Fresh, error) {
	root := r.roots[0]
	if taken(filepath.Join(root, s.ID)) {
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
	id    string
	state runcState
	init  process
	// library is runc's own idea of it, which takes a millisecond to be read.
	library func() (*libcontainer.Container, error)
}

// Candidate implements Container.
func (c *runcContainer) Candidate() Candidate {
	return Candidate{Engine: "runc", ID: c.id, Root: c.root, Pid: c.init.pid, Created: c.state.Created}
}

// Status implements Container, by the rules of libcontainer: an init with the recorded
// start time, one that waits in exec.fifo, a frozen cgroup.
func (c *runcContainer) Status(ctx context.Context) (Status, error) {
	_, freezer := c.dirs()
	return statusOf(c.init, filepath.Join(c.root, c.id), freezer), nil
}

// dirs returns the container's cgroups as runc recorded them, and the one with a
// freezer.
func (c *runcContainer) dirs() ([]string, string) {
	return cgroupDirs(slices.Collect(maps.Values(c.state.Cgroups)))
}

// Target implements Container.
func (c *runcContainer) Target(ctx context.Context) (checkpoint.Target, error) {
	if err := ownNamespace(c.Candidate(), c.init); err != nil {
		return checkpoint.Target{}, err
	}
	t := checkpoint.Target{
		Engine:    "runc",
		Container: c.id,
		Root:      c.root,
		Init:      c.init.pid,
		Rootfs:    c.state.Config.Rootfs,
		Bundle:    bundleLabel(c.state.Config.Labels),
		Stdio:     c.state.Stdio,
	}
	t.Cgroups, t.Freezer = c.dirs()
	t.Paused = frozen(t.Freezer)
	t.Terminal = bundleTerminal(t.Bundle)
	if filter := c.state.Config.Seccomp; len(filter) > 0 && string(filter) != "null" {
		t.SeccompFilters = 1
	}
	return t, nil
}

// manager implements managed.
func (c *runcContainer) manager() string {
	return managerOf(bundleLabel(c.state.Config.Labels), func(key string) string {
		for _, label := range c.state.Config.Labels {
			if value, ok := strings.CutPrefix(label, key+"="); ok {
				return value
			}
		}
		return ""
	})
}

// doom implements doomed.
func (c *runcContainer) doom() { go c.library() }

// Destroy implements Container. It is done in process by runc's own library, which
// knows the cgroup drivers and the hooks; runc's program, which costs 10 to 20 ms, is
// asked where the library cannot (an older state file).
func (c *runcContainer) Destroy(ctx context.Context) error {
	_, freezer := c.dirs()
	if err := thaw(freezer); err != nil {
		return err
	}
	if err := c.init.await(ctx); err != nil {
		return err
	}
	library, err := c.library()
	if err == nil {
		err = library.Destroy()
	}
	if err == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.root, c.id)); errors.Is(err, os.ErrNotExist) {
		// What failed came after the removal: a poststop hook. runc ignores it as
		// well, and there is nothing left to delete.
		return nil
	}
	return c.deleteForce(ctx, c.id)
}

// Start implements Fresh. It is done in process: runc's program would take most of its 8 ms to start itself, and its
// library a millisecond to read the state. The program is asked where it has more to do: to stand between systemd
// and the container.
func (c *runcContainer) Start(ctx context.Context) error {
	if os.Getenv("NOTIFY_SOCKET") != "" {
		return c.start(ctx, c.id)
	}
	fifo := execFifo{path: filepath.Join(c.root, c.id, execFifoName), init: c.init}
	if err := fifo.pass(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return &RuntimeError{Program: c.program, Op: "start", Err: err}
	}
	return nil
}

// Kill implements Fresh.
func (c *runcContainer) Kill(ctx context.Context) error {
	if err := c.init.kill(); err != nil {
		return err
	}
	return c.Destroy(ctx)
}

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
)

// Crun is the crun runtime. It keeps ROOT/ID/status, a JSON file, and beside it
// exec.fifo as long as a container is not started.
type Crun struct {
	program string
	roots   []string
}

// NewCrun returns the engine for a program (a name in PATH or a path) and a state
// directory, "" for those that crun uses by default.
func NewCrun(program, root string) *Crun {
	return &Crun{program: program, roots: stateRoots("crun", root)}
}

// Name implements Engine.
func (c *Crun) Name() string { return "crun" }

// Find implements Engine.
func (c *Crun) Find(ctx context.Context, name string) ([]Container, error) {
	if !validID(name) {
		return nil, nil
	}
	var found []Container
	for _, root := range c.roots {
		one, err := c.load(root, name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return found, fmt.Errorf("reading the state of crun container %q in %s: %w", name, root, err)
		}
		found = append(found, one)
	}
	return found, nil
}

// List implements Engine.
func (c *Crun) List(ctx context.Context) ([]Container, error) {
	return listStates("crun", c.roots, func(root, id string) (Container, error) { return c.load(root, id) })
}

// load reads one container.
func (c *Crun) load(root, id string) (*crunContainer, error) {
	data, err := os.ReadFile(filepath.Join(root, id, "status"))
	if err != nil {
		return nil, err
	}
	status, err := parseCrunStatus(data)
	if err != nil {
		return nil, err
	}
	return &crunContainer{
		commands: commands{name: "crun", program: c.program, root: root},
		id:       id,
		status:   status,
		init:     process{pid: status.Pid, start: status.Start},
	}, nil
}

// crunStatus are the fields of crun's status file that matter here
// (src/libcrun/status.c).
type crunStatus struct {
	Pid    int    `json:"pid"`
	Start  uint64 `json:"process-start-time"`
	Cgroup string `json:"cgroup-path"`
	Rootfs string `json:"rootfs"`
	Bundle string `json:"bundle"`
	// Created is in RFC 3339.
	Created time.Time `json:"created"`
	// Stdio is a JSON list in a string.
	Stdio string `json:"external_descriptors"`
}

// parseCrunStatus decodes a status file.
func parseCrunStatus(data []byte) (crunStatus, error) {
	var s crunStatus
	if err := json.Unmarshal(data, &s); err != nil {
		return s, err
	}
	if s.Pid < 0 {
		return s, fmt.Errorf("pid %d in status", s.Pid)
	}
	if s.Rootfs != "" && !filepath.IsAbs(s.Rootfs) {
		s.Rootfs = filepath.Join(s.Bundle, s.Rootfs)
	}
	return s, nil
}

// Create implements Engine.
func (c *Crun) Create(ctx context.Context, s Spec) (Fresh, error) {
	root := c.roots[0]
	if taken(filepath.Join(root, s.ID)) {
		return nil, existsError("crun", s.ID, root)
	}
	cmds := commands{name: "crun", program: c.program, root: root}
	if err := cmds.create(ctx, s); err != nil {
		return nil, err
	}
	one, err := c.load(root, s.ID)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the state of the fresh crun container %q: %w", s.ID, err),
			cmds.deleteForce(ctx, s.ID))
	}
	return one, nil
}

// crunContainer is one container of crun.
type crunContainer struct {
	commands
	id     string
	status crunStatus
	init   process
}

// Candidate implements Container.
func (c *crunContainer) Candidate() Candidate {
	return Candidate{Engine: "crun", ID: c.id, Root: c.root, Pid: c.init.pid, Created: c.status.Created}
}

// Status implements Container.
func (c *crunContainer) Status(ctx context.Context) (Status, error) {
	_, freezer, err := c.dirs()
	if err != nil {
		return "", err
	}
	return statusOf(c.init, filepath.Join(c.root, c.id), freezer), nil
}

// dirs returns the container's cgroups and the one with a freezer.
func (c *crunContainer) dirs() ([]string, string, error) {
	if c.status.Cgroup == "" {
		return nil, "", nil
	}
	points, err := hierarchies()
	if err != nil {
		return nil, "", fmt.Errorf("%s: cgroups: %w", c.Candidate(), err)
	}
	var all []string
	for _, point := range points {
		all = append(all, filepath.Join(point, c.status.Cgroup))
	}
	dirs, freezer := cgroupDirs(all)
	return dirs, freezer, nil
}

// Target implements Container.
func (c *crunContainer) Target(ctx context.Context) (checkpoint.Target, error) {
	if err := ownNamespace(c.Candidate(), c.init); err != nil {
		return checkpoint.Target{}, err
	}
	dirs, freezer, err := c.dirs()
	if err != nil {
		return checkpoint.Target{}, err
	}
	t := checkpoint.Target{
		Engine:    "crun",
		Container: c.id,
		Root:      c.root,
		Init:      c.init.pid,
		Cgroups:   dirs,
		Freezer:   freezer,
		Rootfs:    c.status.Rootfs,
		Bundle:    c.status.Bundle,
		Paused:    frozen(freezer),
	}
	if c.status.Stdio != "" {
		if err := json.Unmarshal([]byte(c.status.Stdio), &t.Stdio); err != nil {
			return checkpoint.Target{}, fmt.Errorf("%s: external_descriptors in its status: %w", c.Candidate(), err)
		}
	}
	// crun keeps the configuration with which it made the container.
	config, err := readConfig(filepath.Join(c.root, c.id, "config.json"))
	if err != nil {
		return checkpoint.Target{}, fmt.Errorf("%s: %w", c.Candidate(), err)
	}
	t.Terminal = config.Process != nil && config.Process.Terminal
	if config.seccomp() {
		t.SeccompFilters = 1
	}
	return t, nil
}

// manager implements managed.
func (c *crunContainer) manager() string {
	config, err := readConfig(filepath.Join(c.root, c.id, "config.json"))
	if err != nil {
		return managerOf(c.status.Bundle, func(string) string { return "" })
	}
	return managerOf(c.status.Bundle, func(key string) string { return config.Annotations[key] })
}

// Destroy implements Container. crun is a small C program: asking it costs 4 ms.
func (c *crunContainer) Destroy(ctx context.Context) error {
	_, freezer, err := c.dirs()
	if err != nil {
		return err
	}
	if err := thaw(freezer); err != nil {
		return err
	}
	if err := c.init.await(ctx); err != nil {
		return err
	}
	return c.deleteForce(ctx, c.id)
}

// Start implements Fresh.
func (c *crunContainer) Start(ctx context.Context) error { return c.start(ctx, c.id) }

// Kill implements Fresh.
func (c *crunContainer) Kill(ctx context.Context) error {
	if err := c.init.kill(); err != nil {
		return err
	}
	return c.Destroy(ctx)
}

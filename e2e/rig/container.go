package rig

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// Container is one container and the bundle that it is made of, over and over.
type Container struct {
	ID       string
	Bundle   string
	Root     string // the runtime's state root
	StateDir string // /state inside
	Image    string // where Checkpoint writes to
	Stream   string // the file that it writes to instead, as a stream
	Rootfs   string
	// Around is a command that runs what makes the container: its arguments end with that.
	Around []string

	t      TB
	rig    *Rig
	dir    string
	label  string
	cgroup string
	kind   StdioKind
	userNS bool

	mu    sync.Mutex
	stdio *stdio
}

// New lays out a bundle. Nothing runs yet. What becomes of it is cleaned up with
// the test; a failed test shows what the container wrote.
func (r *Rig) New(t TB, config Config) *Container {
	t.Helper()
	label := r.next()
	dir := filepath.Join(r.Dir, label)
	c := &Container{
		ID:       r.tag + "-" + label,
		Bundle:   filepath.Join(dir, "b"),
		Root:     filepath.Join(dir, "root"),
		StateDir: filepath.Join(dir, "s"),
		Image:    filepath.Join(dir, "b", "checkpoint"),
		Rootfs:   filepath.Join(dir, "b", "rootfs"),
		t:        t, rig: r, dir: dir, label: label,
		cgroup: cgroupPrefix + r.tag + "-" + label,
		kind:   config.Stdio,
	}
	if os.Getenv("RETHAW_E2E_STREAM") != "" {
		c.Stream = filepath.Join(dir, "stream")
	}
	for _, sub := range []string{c.Rootfs, c.Root, c.StateDir} {
		must(t, os.MkdirAll(sub, 0o755), "make bundle")
	}
	must(t, os.Chmod(c.StateDir, 0o777), "open /state to every user")
	must(t, makeRootfs(c.Rootfs, config.HostUsr), "make rootfs")
	if c.userNS = config.UserNS || UserNS(); c.userNS {
		must(t, giveAway(c.Rootfs), "give the rootfs to the container's root")
		must(t, giveAway(c.StateDir), "give /state to the container's root")
	}
	must(t, writeSpec(c.Bundle, c.spec(config)), "write config.json")
	t.Cleanup(c.remove)
	return c
}

// WriteFile puts a file into the rootfs, with its directories.
func (c *Container) WriteFile(path, text string, mode os.FileMode) {
	c.t.Helper()
	host := filepath.Join(c.Rootfs, path)
	must(c.t, os.MkdirAll(filepath.Dir(host), 0o755), "make directory")
	must(c.t, os.WriteFile(host, []byte(text), mode), "write file")
}

// EditSpec changes config.json of the bundle.
func (c *Container) EditSpec(edit func(*specs.Spec)) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Bundle, "config.json"))
	must(c.t, err, "read config.json")
	var spec specs.Spec
	must(c.t, json.Unmarshal(text, &spec), "parse config.json")
	edit(&spec)
	must(c.t, writeSpec(c.Bundle, &spec), "write config.json")
}

// OpenStdio makes the streams of the container to be, closes those of the last,
// and returns the arguments that tell a runtime (or rethaw) of a console.
func (c *Container) OpenStdio() (files [3]*os.File, args []string) {
	c.t.Helper()
	s, err := c.kind.open(c.dir)
	must(c.t, err, "open stdio")
	s.identify()
	c.mu.Lock()
	if c.stdio != nil {
		c.stdio.close()
	}
	c.stdio = s
	c.mu.Unlock()
	if s.console != nil {
		args = []string{"--console-socket", s.console.path}
	}
	return s.files, args
}

// Output is what the container has written since it was last made; a log file
// keeps what all of them wrote.
func (c *Container) Output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stdio == nil {
		return ""
	}
	return c.stdio.output()
}

// Input writes to the container's standard input, where that leads to us.
func (c *Container) Input(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stdio.write(text)
}

// StdioFiles names, for a snapshot, the files of the host that the container has
// as its streams.
func (c *Container) StdioFiles() map[snapshot.FileID]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stdio == nil {
		return nil
	}
	return c.stdio.roles
}

// Run starts the container detached, by the runtime alone.
func (c *Container) Run() {
	c.t.Helper()
	c.start(c.rig.Runtime, "--root", c.Root, "run", "--detach", "--bundle", c.Bundle)
}

// start runs a command that makes the container and returns when it is made.
func (c *Container) start(name string, args ...string) Result {
	c.t.Helper()
	result := c.startBy(func(f func() Result) Result { return f() }, name, args...)
	if result.Code != 0 {
		c.t.Fatalf("%v", result)
	}
	return result
}

// startBy is start that may fail; by calls what launches the program, in a place of its choice.
func (c *Container) startBy(by func(launch func() Result) Result, name string, args ...string) Result {
	c.t.Helper()
	files, more := c.OpenStdio()
	args = append(append(args, more...), c.ID)
	if len(c.Around) > 0 {
		args = slices.Concat(c.Around[1:], []string{name}, args)
		name = c.Around[0]
	}
	result := by(func() Result { return c.rig.launch(files, c.dir, name, args...) })
	c.mu.Lock()
	c.stdio.started()
	c.mu.Unlock()
	return result
}

// Runtime runs a verb of the runtime on this state root: Runtime("kill", id).
func (c *Container) Runtime(args ...string) Result {
	return c.rig.command(c.rig.Runtime, append([]string{"--root", c.Root}, args...)...)
}

// State returns what the runtime says of the container; ok is false where it
// knows none of this name.
func (c *Container) State() (state specs.State, ok bool) {
	c.t.Helper()
	result := c.Runtime("state", c.ID)
	if result.Code != 0 {
		return state, false
	}
	must(c.t, json.Unmarshal([]byte(result.Stdout), &state), "parse state")
	return state, true
}

// Pid returns the pid of the container's init on the host.
func (c *Container) Pid() int {
	c.t.Helper()
	state, ok := c.State()
	if !ok || state.Pid == 0 {
		c.t.Fatalf("container %s has no init: %+v", c.ID, state)
	}
	return state.Pid
}

// Exec runs a command inside and waits for it. Its output goes through pipes.
func (c *Container) Exec(args ...string) Result {
	return c.Runtime(append([]string{"exec", c.ID}, args...)...)
}

// Delete kills the container and removes it.
func (c *Container) Delete() {
	c.t.Helper()
	if result := c.Runtime("delete", "--force", c.ID); result.Code != 0 {
		c.t.Fatalf("%v", result)
	}
}

// AssertGone fails the test unless the name is free again and no task is left.
func (c *Container) AssertGone() {
	c.t.Helper()
	if state, ok := c.State(); ok {
		c.t.Fatalf("container %s is still known to the runtime: status %s, pid %d", c.ID, state.Status, state.Pid)
	}
	Eventually(c.t, 5*time.Second, "the container's tasks to be gone", func() bool {
		return len(c.Tasks()) == 0
	})
}

// remove ends what runs and takes the files away.
func (c *Container) remove() {
	if c.t.Failed() {
		if said := c.Output(); said != "" {
			c.t.Logf("container %s wrote:\n%s", c.ID, strings.TrimRight(said, "\n"))
		}
	}
	c.Runtime("delete", "--force", c.ID)
	c.mu.Lock()
	if c.stdio != nil {
		c.stdio.close()
	}
	c.mu.Unlock()
	if err := killCgroups(c.cgroup); err != nil {
		c.t.Errorf("clean up: %v", err)
	}
	if os.Getenv("RETHAW_E2E_KEEP") != "" && c.t.Failed() {
		c.t.Logf("kept: %s", c.dir)
		return
	}
	if err := errors.Join(unmountBelow(c.dir), os.RemoveAll(c.dir)); err != nil {
		c.t.Errorf("clean up: %v", err)
	}
}

package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Containerd is a containerd with directories of its own.
type Containerd struct {
	State  string // its state directory
	Rootfs string // what containers may have as their root

	t      TB
	rig    *Rig
	socket string
}

// containerdPatience is how long the daemon may take to answer.
const containerdPatience = 30 * time.Second

// Containerd starts one. The error says why there is none here.
func (r *Rig) Containerd(t TB) (*Containerd, error) {
	t.Helper()
	for _, name := range []string{"containerd", "ctr"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	dir := filepath.Join(r.Dir, r.next())
	c := &Containerd{State: filepath.Join(dir, "state"), Rootfs: filepath.Join(dir, "rootfs"), t: t, rig: r,
		socket: filepath.Join(dir, "sock")}
	must(t, os.MkdirAll(c.Rootfs, 0o755), "make rootfs")
	must(t, makeRootfs(c.Rootfs, false), "make rootfs")
	config := filepath.Join(dir, "config.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`, filepath.Join(dir, "lasting"), c.State, c.socket, c.socket+".ttrpc"), 0o644), "write config.toml")
	log, err := os.Create(filepath.Join(dir, "log"))
	must(t, err, "make a log")
	defer log.Close()
	daemon := exec.Command("containerd", "--config", config)
	daemon.Stdout, daemon.Stderr = log, log
	must(t, daemon.Start(), "start containerd")
	t.Cleanup(func() {
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait()
		if err := unmountBelow(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
		_ = os.RemoveAll(dir)
	})
	for deadline := time.Now().Add(containerdPatience); c.Ctr("version").Code != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("containerd does not answer:\n%s", text)
		}
	}
	return c, nil
}

// Ctr runs containerd's own client.
func (c *Containerd) Ctr(args ...string) Result {
	return c.rig.command("ctr", append([]string{"--address", c.socket}, args...)...)
}

// Run starts a container that the test's end removes.
func (c *Containerd) Run(id string, flags []string, command ...string) Result {
	args := append([]string{"run", "--detach", "--null-io"}, flags...)
	args = append(args, "--rootfs", c.Rootfs, id)
	c.t.Cleanup(func() {
		c.Ctr("task", "kill", "--signal", "SIGKILL", id)
		for range 100 {
			if c.Ctr("task", "rm", id).Code == 0 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		c.Ctr("container", "rm", id)
	})
	return c.Ctr(append(args, command...)...)
}

// Running tells whether containerd says that a task runs.
func (c *Containerd) Running(id string) bool {
	for line := range strings.Lines(c.Ctr("task", "ls").Stdout) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id {
			return fields[2] == "RUNNING"
		}
	}
	return false
}

// Rethaw runs a verb of rethaw on this containerd's state.
func (c *Containerd) Rethaw(verb string, args ...string) Result {
	return c.rig.command(c.rig.Rethaw, append([]string{verb, "--root", c.State}, args...)...)
}

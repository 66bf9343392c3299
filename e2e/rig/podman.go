package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Podman is a podman with a store, images and hooks of its own.
type Podman struct {
	Root  string // the store: podman's --root
	Hooks string // its hooks directory
	Image string // busybox, and the state programs that AddProgram put there

	t    TB
	rig  *Rig
	dir  string
	base string // what all names begin with
	env  []string
	// cgroup is the parent of all its containers'.
	cgroup string
}

// limits are what a container gets, since root may not be allowed to raise those
// that podman would choose.
const limits = `"nofile=1024:1024", "nproc=4096:4096"`

// Podman makes one with an image that has the programs of those names. The error says why
// podman cannot run containers here: it is tried.
func (r *Rig) Podman(t TB, programs ...string) (*Podman, error) {
	t.Helper()
	if _, err := exec.LookPath("podman"); err != nil {
		return nil, fmt.Errorf("podman: %w", err)
	}
	if _, err := exec.LookPath("conmon"); err != nil {
		return nil, fmt.Errorf("conmon: %w", err)
	}
	label := r.next()
	dir := filepath.Join(r.Dir, label)
	p := &Podman{
		Root:  filepath.Join(dir, "store"),
		Hooks: filepath.Join(dir, "hooks.d"),
		Image: "rethaw-e2e",
		t:     t, rig: r, dir: dir,
		base:   r.tag + "-" + label,
		cgroup: cgroupPrefix + r.tag + "-" + label,
	}
	rootfs := filepath.Join(dir, "rootfs")
	for _, sub := range []string{p.Root, p.Hooks, rootfs} {
		must(t, os.MkdirAll(sub, 0o755), "make podman's directories")
	}
	t.Cleanup(p.remove)
	p.configure()
	must(t, makeRootfs(rootfs, false), "make rootfs")
	for _, name := range programs {
		text, err := os.ReadFile(r.CProgram(t, name))
		must(t, err, "read program")
		must(t, os.WriteFile(filepath.Join(rootfs, "programs", name), text, 0o755), "copy program")
	}
	archive := filepath.Join(dir, "image.tar")
	if said, err := exec.Command("tar", "-C", rootfs, "-cf", archive, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, said)
	}
	if got := p.Run("import", "--quiet", archive, p.Image); got.Code != 0 {
		return nil, fmt.Errorf("podman cannot import an image: %v", got)
	}
	if got := p.Run("run", "--rm", "--cgroup-parent", "/"+p.cgroup, "--network", "none", p.Image, "/bin/true"); got.Code != 0 {
		return nil, fmt.Errorf("podman cannot run a container: %s", strings.TrimSpace(got.Stderr))
	}
	return p, nil
}

// configure writes the configuration files that keep this podman to itself.
func (p *Podman) configure() {
	containers, storage := filepath.Join(p.dir, "containers.conf"), filepath.Join(p.dir, "storage.conf")
	must(p.t, os.WriteFile(containers, fmt.Appendf(nil, `[containers]
default_ulimits = [%s]
cgroups = "enabled"
[engine]
runtime = %q
cgroup_manager = "cgroupfs"
events_logger = "file"
hooks_dir = [%q]
tmp_dir = %q
[network]
network_backend = "netavark"
`, limits, p.rig.Runtime, p.Hooks, filepath.Join(p.dir, "tmp")), 0o644), "write containers.conf")
	must(p.t, os.WriteFile(storage, fmt.Appendf(nil, `[storage]
driver = "overlay"
graphroot = %q
runroot = %q
`, p.Root, filepath.Join(p.dir, "run")), 0o644), "write storage.conf")
	p.env = append(os.Environ(), "CONTAINERS_CONF="+containers, "CONTAINERS_STORAGE_CONF="+storage)
}

// Run runs podman.
func (p *Podman) Run(args ...string) Result {
	return p.rig.commandEnv(p.env, "podman", args...)
}

// Rethaw runs rethaw, which finds this podman as its own by the environment.
func (p *Podman) Rethaw(args ...string) Result {
	return p.rig.commandEnv(p.env, p.rig.Rethaw, args...)
}

// Must is Run that fails the test; it returns what podman printed.
func (p *Podman) Must(args ...string) string {
	p.t.Helper()
	r := p.Run(args...)
	if r.Code != 0 {
		p.t.Fatalf("%v", r)
	}
	return strings.TrimSpace(r.Stdout)
}

// Name makes a container's name that belongs to this podman.
func (p *Podman) Name(name string) string { return "e2e-" + p.base + "-" + name }

// CgroupParent is that of all containers of this podman.
func (p *Podman) CgroupParent() string { return "/" + p.cgroup }

// State asks podman for one field of inspect, as "{{.State.Status}}".
func (p *Podman) State(name, field string) string {
	p.t.Helper()
	return p.Must("container", "inspect", "--format", field, name)
}

// Make is podman run or create: flags come before the image, command after it.
func (p *Podman) Make(verb, name string, flags []string, command ...string) string {
	p.t.Helper()
	args := append([]string{verb, "--name", name, "--cgroup-parent", "/" + p.cgroup}, flags...)
	return p.Must(append(append(args, p.Image), command...)...)
}

// RunProgram runs a state program as name and waits until its state is built.
func (p *Podman) RunProgram(name, program string, args ...string) *Talk {
	p.t.Helper()
	state := filepath.Join(p.dir, "s-"+name)
	must(p.t, os.Mkdir(state, 0o777), "make /state")
	p.Make("run", name, append([]string{"--detach", "--network", "none", "--volume", state + ":/state"}, args...), "/programs/"+program)
	talk := &Talk{tb: p.t, dir: state, silent: func() string {
		return fmt.Sprintf("the container is %s and wrote:\n%s", p.Run("ps", "-a"), p.Run("logs", name))
	}}
	talk.WaitReady()
	return talk
}

// remove ends what runs and takes the files away.
func (p *Podman) remove() {
	removed := p.Run("rm", "--all", "--force", "--time", "0")
	if p.t.Failed() {
		p.t.Logf("%v", removed)
		if os.Getenv("RETHAW_E2E_KEEP") != "" {
			p.t.Logf("kept: %s", p.dir)
			return
		}
	}
	// The podman that conmon has become cleans up too, and mounts the store for that.
	clean := func() error { return errors.Join(killCgroups(p.cgroup), unmountBelow(p.dir), os.RemoveAll(p.dir)) }
	err := clean()
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); err = clean() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		p.t.Errorf("clean up: %v", err)
	}
}

package e2e

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// runtimeCaps are what runc takes to make a container of package rig: those that it gives away, and its own
// for namespaces, mounts, cgroups and the loopback interface.
var runtimeCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	"CAP_SYS_ADMIN", "CAP_NET_ADMIN",
}

// TestCapabilities takes containers through a checkpoint with no other capabilities than docs/security.md
// says, and back with no others than the runtime takes and CAP_SYS_PTRACE. With one less the checkpoint is
// refused, the message names it, and the container runs on.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	own, err := rig.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	least := []string{"CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE"}
	admin := []string{"CAP_SYS_PTRACE", "CAP_SYS_ADMIN"}
	for _, tt := range []struct {
		program string
		filter  bool // with a seccomp filter
		caps    []string
	}{
		{"pipe", false, least},
		{"deleted", false, least},
		{"threads", false, least},
		{"identity", false, least}, // a task that has changed its user
		{"tmpfs", false, append([]string{"CAP_DAC_READ_SEARCH", "CAP_FOWNER"}, least...)},
		{"pipe", true, admin},
		{"sysvshm", false, admin},
		{"tcp", false, admin},
		{"unixsocket", false, append([]string{"CAP_NET_ADMIN"}, admin...)},
	} {
		name := tt.program
		if tt.filter {
			name += ", filtered"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range slices.Concat(tt.caps, runtimeCaps) {
				if !slices.Contains(own, c) {
					t.Skipf("%s is not here to be given", c)
				}
			}
			config := needs[tt.program]
			config.Unconfined = !tt.filter
			p := startProgram(t, tt.program, config)
			p.Check("before")
			for _, without := range tt.caps {
				rest := slices.DeleteFunc(slices.Clone(tt.caps), func(c string) bool { return c == without })
				r := p.RethawWith(rest, "checkpoint", "--image", p.Image, p.ID)
				if r.Code != exitEnvironment || !strings.Contains(r.Stderr, without) {
					t.Errorf("without %s: exit code %d, want %d and its name in: %s", without, r.Code, exitEnvironment, r.Stderr)
				}
			}
			p.Check("after refusals")
			if r := p.RethawWith(tt.caps, "checkpoint", "--image", p.Image, p.ID); r.Code != 0 {
				t.Fatalf("with %v: %v", tt.caps, r)
			}
			p.AssertGone()
			restore := slices.Concat(runtimeCaps, config.Caps, []string{"CAP_SYS_PTRACE"})
			slices.Sort(restore)
			if r := p.RestoreWith(slices.Compact(restore)); r.Code != 0 {
				t.Fatalf("with %v: %v\n%s", restore, r, p.Output())
			}
			p.Check("restored")
		})
	}
}

// TestCapabilitiesOfTrees takes a process of another user there and back without CAP_SYS_ADMIN. With one
// capability less nothing happens to it.
func TestCapabilitiesOfTrees(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	const nobody = 65534
	cmd := exec.Command("/bin/sleep", "1000000")
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, null
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	// What whoever started the tests left open in us would lead out of the tree.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	rig.Eventually(t, 10*time.Second, "the program", func() bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return strings.HasSuffix(exe, "sleep")
	})
	image := filepath.Join(t.TempDir(), "image")
	save := []string{"CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE", "CAP_DAC_OVERRIDE", "CAP_KILL"}
	for _, without := range save {
		rest := slices.DeleteFunc(slices.Clone(save), func(c string) bool { return c == without })
		r := c.RethawWith(rest, "checkpoint", "--pid", strconv.Itoa(pid), "--image", image)
		if r.Code != exitEnvironment || !strings.Contains(r.Stderr, without) {
			t.Errorf("without %s: %v", without, r)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("a refused checkpoint has ended it: %v", err)
	default:
	}
	if r := c.RethawWith(save, "checkpoint", "--pid", strconv.Itoa(pid), "--image", image); r.Code != 0 {
		t.Fatal(r)
	}
	<-ended
	bring := []string{"CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"}
	for _, without := range bring {
		rest := slices.DeleteFunc(slices.Clone(bring), func(c string) bool { return c == without })
		if r := c.RethawWith(rest, "restore", "--detach", "--image", image); r.Code == 0 {
			t.Errorf("restored without %s: %v", without, r)
		}
		rig.Eventually(t, 10*time.Second, "the end of what was made without "+without, func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ") // who adopted it may be slow
		})
	}
	if r := c.RethawWith(bring, "restore", "--detach", "--image", image); r.Code != 0 {
		t.Fatal(r)
	}
	defer func() { _ = unix.Kill(pid, unix.SIGKILL) }()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "Name:\tsleep\n") || !strings.Contains(string(status), "Uid:\t65534\t65534\t65534\t65534\n") {
		t.Errorf("restored: %s, %v", status, err)
	}
}

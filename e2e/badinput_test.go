package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// The exit codes of rethaw, as rethaw help documents them.
const (
	exitUsage       = 2
	exitNotFound    = 3
	exitState       = 4
	exitUnsupported = 5
	exitImage       = 6
	exitEnvironment = 7
	exitBundle      = 8
	exitInterrupted = 130
)

// refused sees that rethaw says no as documented: the code, one sentence, and in it
// what a user needs to know.
func refused(t *testing.T, r rig.Result, code int, says ...string) {
	t.Helper()
	text := strings.TrimSpace(r.Stderr)
	if r.Code != code {
		t.Errorf("exit code %d, want %d: %v", r.Code, code, r)
	}
	if text == "" || strings.Contains(text, "\n") || strings.Contains(text, "goroutine ") {
		t.Errorf("not one sentence: %v", r)
	}
	for _, word := range says {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in %q", word, text)
		}
	}
}

// idle makes a container that sleeps.
func idle(t *testing.T, config rig.Config) *rig.Container {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	config.Args = []string{"/bin/sleep", "1000000"}
	return theRig(t).New(t, config)
}

// checkpoint tries to checkpoint and leaves the container running.
func tryCheckpoint(c *rig.Container, args ...string) rig.Result {
	return c.TryRethaw("checkpoint", append(args, "--leave-running", "--image", c.Image, c.ID)...)
}

// TestWrongContainer: names that lead nowhere, and states that do not fit.
func TestWrongContainer(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	refused(t, tryCheckpoint(c), exitNotFound, c.ID)
	refused(t, c.TryRethaw("checkpoint"), exitUsage)
	refused(t, c.TryRethaw("checkpoint", "--image", c.Image, "--pid", "4194303"), exitNotFound, "4194303")

	c.RuntimeCommand("create", "--bundle", c.Bundle)
	refused(t, tryCheckpoint(c), exitState, c.ID, "start")
	if r := c.Runtime("start", c.ID); r.Code != 0 {
		t.Fatal(r)
	}
	c.Checkpoint("--leave-running")
	refused(t, c.TryRethaw("restore", "--detach", "--bundle", c.Bundle, "--image", c.Image, c.ID), exitState, c.ID)
	if r := c.Runtime("kill", c.ID, "KILL"); r.Code != 0 {
		t.Fatal(r)
	}
	rig.Eventually(t, 10*time.Second, "the container to stop", func() bool {
		state, ok := c.State()
		return ok && state.Status == "stopped"
	})
	refused(t, tryCheckpoint(c), exitState, c.ID, "stopped")
}

// TestPaused: a paused container is checkpointed as it is and stays paused with -R.
func TestPaused(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	c.Run()
	if r := c.Runtime("pause", c.ID); r.Code != 0 {
		t.Fatal(r)
	}
	c.Checkpoint("--leave-running")
	if state, _ := c.State(); state.Status != "paused" {
		t.Errorf("left running, it is %q, want paused", state.Status)
	}
	c.Checkpoint()
	c.AssertGone()
	c.Restore()
}

// TestBusy: one checkpoint at a time.
func TestBusy(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	c.Run()
	c.Checkpoint("--leave-running")
	// One that is stopped half way holds the container until it goes on.
	for try := 0; ; try++ {
		run := c.StartRethaw("checkpoint", "--leave-running", "--image", c.Image, c.ID)
		time.Sleep(time.Duration(try%20) * time.Millisecond)
		run.Signal(syscall.SIGSTOP)
		second := tryCheckpoint(c)
		run.Signal(syscall.SIGCONT)
		if first := run.Wait(); first.Code != 0 {
			t.Fatalf("stopped and continued: %v", first)
		}
		if second.Code != 0 {
			refused(t, second, exitState, "another rethaw")
			return
		}
		if try == 200 {
			t.Fatal("no checkpoint could be stopped half way")
		}
	}
}

// TestPrivilege: without root nothing is tried.
func TestPrivilege(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	c.Run()
	cmd := exec.Command(theRig(t).Rethaw, c.RethawArgs("checkpoint", "--image", c.Image, c.ID)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var said strings.Builder
	cmd.Stderr = &said
	err := cmd.Run()
	refused(t, rig.Result{Args: cmd.Args, Err: err, Code: cmd.ProcessState.ExitCode(), Stderr: said.String()}, exitEnvironment, "root")
}

// TestRuntime: a runtime that is missing, and one that fails.
func TestRuntime(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	c.Run()
	c.Checkpoint()
	restore := func(runtime string) rig.Result {
		return c.TryRethaw("restore", "--runtime", runtime, "--detach", "--bundle", c.Bundle, "--image", c.Image, c.ID)
	}
	refused(t, restore("/nonexistent/runc"), exitEnvironment, "/nonexistent/runc")
	broken := filepath.Join(c.StateDir, "runc")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho 'no luck today' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	failed := restore(broken)
	said, rest, _ := strings.Cut(failed.Stderr, "\n")
	if said != "no luck today" {
		t.Errorf("what the runtime had to say is lost: %v", failed)
	}
	failed.Stderr = rest
	refused(t, failed, exitEnvironment, broken)
	c.AssertGone()
	c.Restore()
}

// TestImageDirectory: what may stand where the image is to go.
func TestImageDirectory(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	c.Run()
	// Something else is left alone.
	mine := filepath.Join(c.Image, "mine")
	if err := os.MkdirAll(c.Image, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, tryCheckpoint(c), exitImage, c.Image)
	if text, err := os.ReadFile(mine); err != nil || string(text) != "precious" {
		t.Errorf("what stood there is not what it was: %q, %v", text, err)
	}
	if err := os.RemoveAll(c.Image); err != nil {
		t.Fatal(err)
	}
	// A complete image is replaced.
	c.Checkpoint("--leave-running")
	old, err := os.Stat(filepath.Join(c.Image, "image.rt"))
	if err != nil {
		t.Fatal(err)
	}
	c.Checkpoint("--leave-running")
	now, err := os.Stat(filepath.Join(c.Image, "image.rt"))
	if err != nil || os.SameFile(old, now) {
		t.Errorf("the old image is still there: %v", err)
	}
}

// TestDisk: full, and read-only. The container and an older image stay as they are.
func TestDisk(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "selfcheck", rig.Config{})
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	v := newVictim(t, p)
	small := filepath.Join(p.StateDir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	p.Image = filepath.Join(small, "image")
	refused(t, tryCheckpoint(p.Container), exitEnvironment, "space")
	v.unharmed(t)
	if left, err := os.ReadDir(small); err != nil || len(left) > 0 {
		t.Errorf("left on the full disk: %v %v", left, err)
	}
	if err := unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, tryCheckpoint(p.Container), exitEnvironment, "read-only")
	v.unharmed(t)
}

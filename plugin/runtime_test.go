package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// testRuntime returns the engine of a real runtime with a state directory of its own,
// or skips the test with the reason.
func testRuntime(t *testing.T, name string) Engine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	r, err := NewRegistry(Choice{Runtime: name, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return r.Engine(name)
}

// testBundle makes a bundle with a shell that runs a script.
func testBundle(t *testing.T, script string) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "rootfs", "bin")
	for _, d := range []string{bin, filepath.Join(dir, "rootfs", "proc"), filepath.Join(dir, "rootfs", "dev")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "sh"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	writeConfig(t, dir, &runtimespec.Spec{
		Version: "1.0.2",
		Root:    &runtimespec.Root{Path: "rootfs"},
		Process: &runtimespec.Process{Args: []string{"/bin/sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/bin"}},
		Mounts: []runtimespec.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		},
		Linux: &runtimespec.Linux{Namespaces: []runtimespec.LinuxNamespace{
			{Type: runtimespec.PIDNamespace}, {Type: runtimespec.MountNamespace},
			{Type: runtimespec.IPCNamespace}, {Type: runtimespec.UTSNamespace}, {Type: runtimespec.NetworkNamespace},
		}},
	})
	return dir
}

func writeConfig(t *testing.T, dir string, config *runtimespec.Spec) {
	t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// testCreate makes a container that the test removes.
func testCreate(t *testing.T, e Engine, s Spec) Fresh {
	t.Helper()
	s.ID = fmt.Sprintf("rethaw-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	fresh, err := e.Create(context.Background(), s)
	if err != nil {
		if strings.Contains(err.Error(), "cgroup") {
			t.Skip("this host's cgroups do not suit the runtime: ", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		found, _ := e.Find(context.Background(), s.ID)
		for _, c := range found {
			if err := c.(Fresh).Kill(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return fresh
}

// find is Find for a container that is there once.
func find(t *testing.T, e Engine, id string) Container {
	t.Helper()
	found, err := e.Find(context.Background(), id)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v", found, err)
	}
	return found[0]
}

func status(t *testing.T, c Container) Status {
	t.Helper()
	s, err := c.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLife follows a container through its states.
func TestLife(t *testing.T) {
	for _, name := range []string{"runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			e := testRuntime(t, name)
			bundle := testBundle(t, "while :; do sleep 1; done")
			fresh := testCreate(t, e, Spec{Bundle: bundle})
			id := fresh.Candidate().ID
			if s := status(t, fresh); s != Created {
				t.Errorf("created: status %q", s)
			}
			if err := running(ctx, fresh); !errors.Is(err, ErrState) {
				t.Errorf("created: %v, want ErrState", err)
			}
			if _, err := e.Create(ctx, Spec{Bundle: bundle, ID: id}); !errors.Is(err, ErrExists) {
				t.Errorf("creating it twice: %v, want ErrExists", err)
			}
			if err := fresh.Start(ctx); err != nil {
				t.Fatal(err)
			}
			c := find(t, e, id)
			if s := status(t, c); s != Running {
				t.Errorf("started: status %q", s)
			}
			target, err := c.Target(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if target.Init != fresh.Candidate().Pid || target.Rootfs != filepath.Join(bundle, "rootfs") || target.Bundle != bundle {
				t.Errorf("target %+v", target)
			}
			if target.Freezer == "" || target.Freezer != target.Cgroups[0] {
				t.Errorf("freezer %q of cgroups %q", target.Freezer, target.Cgroups)
			}
			if !slices.Equal(target.Stdio, []string{"/dev/null", "/dev/null", "/dev/null"}) {
				t.Errorf("stdio %q", target.Stdio)
			}
			setFrozen(t, target.Freezer, true)
			if s := status(t, c); s != Paused {
				t.Errorf("frozen: status %q", s)
			}
			if err := unix.Kill(target.Init, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			setFrozen(t, target.Freezer, false)
			if err := c.Destroy(ctx); err != nil {
				t.Fatal(err)
			}
			if found, err := e.Find(ctx, id); err != nil || len(found) != 0 {
				t.Errorf("after Destroy: found %v, %v", found, err)
			}
			for _, dir := range target.Cgroups {
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("after Destroy: cgroup %s: %v", dir, err)
				}
			}
		})
	}
}

// setFrozen writes to a freezer.
func setFrozen(t *testing.T, dir string, on bool) {
	t.Helper()
	file, words := "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}
	if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
		file, words = "cgroup.freeze", map[bool]string{true: "1", false: "0"}
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(words[on]), 0); err != nil {
		t.Fatal(err)
	}
}

// TestWait runs a container in the foreground: its output, its status, and that
// nothing is left.
func TestWait(t *testing.T) {
	tests := []struct {
		name, script string
		signal       os.Signal
		status       int
		output       string
	}{
		{"status", "echo hello; exit 7", nil, 7, "hello\n"},
		{"forwarded signal", "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.05; done", unix.SIGUSR1, 3, "ready\ngot it\n"},
		{"killed", "kill -KILL $$; sleep 1; exit 9", nil, 9, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := testRuntime(t, "runc")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := adopt(true); err != nil {
				t.Fatal(err)
			}
			defer adopt(false)
			spec := Spec{Bundle: testBundle(t, tt.script), Stdout: w}
			fresh := testCreate(t, e, spec)
			w.Close()
			session := &Session{container: fresh, init: process{pid: fresh.Candidate().Pid}, stdio: new(stdio)}
			if err := fresh.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			signals := make(chan os.Signal, 1)
			var output []byte
			buffer := make([]byte, 100)
			for {
				n, err := r.Read(buffer)
				output = append(output, buffer[:n]...)
				if err != nil || tt.signal != nil {
					break
				}
			}
			if tt.signal != nil {
				signals <- tt.signal
			}
			got, err := session.Wait(context.Background(), signals)
			if err != nil || got != tt.status {
				t.Errorf("status %d, %v, want %d", got, err, tt.status)
			}
			for {
				n, err := r.Read(buffer)
				output = append(output, buffer[:n]...)
				if err != nil {
					break
				}
			}
			if string(output) != tt.output {
				t.Errorf("output %q, want %q", output, tt.output)
			}
			if found, err := e.Find(context.Background(), fresh.Candidate().ID); err != nil || len(found) != 0 {
				t.Errorf("left: %v, %v", found, err)
			}
		})
	}
}

// TestRuntimeFails checks the message of a runtime that cannot make a container, and
// that nothing is left of it.
func TestRuntimeFails(t *testing.T) {
	for _, name := range []string{"runc", "crun"} {
		t.Run(name, func(t *testing.T) {
			e := testRuntime(t, name)
			bundle := testBundle(t, "exit")
			config, err := fullConfig(filepath.Join(bundle, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			config.Mounts = append(config.Mounts, runtimespec.Mount{Destination: "/x", Type: "bind", Source: "/no/such/thing", Options: []string{"bind"}})
			writeConfig(t, bundle, config)
			id := fmt.Sprintf("rethaw-test-fail-%d", os.Getpid())
			_, err = e.Create(context.Background(), Spec{ID: id, Bundle: bundle})
			var failed *RuntimeError
			if !errors.As(err, &failed) || failed.Message == "" || !errors.Is(err, ErrRuntime) {
				t.Fatalf("got %#v", err)
			}
			t.Log(err)
			if found, err := e.Find(context.Background(), id); err != nil || len(found) != 0 {
				t.Errorf("left: %v, %v", found, err)
			}
		})
	}
}

func TestRuntimeMissing(t *testing.T) {
	e := NewRunc("/no/such/runc", t.TempDir())
	_, err := e.Create(context.Background(), Spec{ID: "x", Bundle: t.TempDir()})
	if !errors.Is(err, ErrRuntime) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// devpts is the mount that a container with a terminal needs.
func devpts() runtimespec.Mount {
	return runtimespec.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
		Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}
}

// fullConfig reads all of a configuration.
func fullConfig(path string) (*runtimespec.Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := new(runtimespec.Spec)
	return config, json.Unmarshal(data, config)
}

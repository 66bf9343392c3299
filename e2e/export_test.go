package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// workspace is a TMPDIR of its own for the commands of one test, which must be
// empty whenever none of them runs.
type workspace struct {
	t   *testing.T
	dir string
}

func newWorkspace(t *testing.T) workspace { return workspace{t, t.TempDir()} }

// command is a verb of rethaw on the state root of c.
func (w workspace) command(c *rig.Container, verb string, args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command(theRig(w.t).Rethaw, c.RethawArgs(verb, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+w.dir)
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a command that leaves no container with its streams. stdin may be nil.
func (w workspace) run(stdin []byte, c *rig.Container, verb string, args ...string) rig.Result {
	w.t.Helper()
	cmd := w.command(c, verb, args...)
	var out, errs bytes.Buffer
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	w.empty()
	return rig.Result{Args: cmd.Args, Code: cmd.ProcessState.ExitCode(), Err: err, Stdout: out.String(), Stderr: errs.String()}
}

// restore runs `restore` for c, which gets its own streams but for stdin.
func (w workspace) restore(c *rig.Container, stdin *os.File, args ...string) *exec.Cmd {
	w.t.Helper()
	files, more := c.OpenStdio()
	cmd := w.command(c, "restore", append(append(args, more...), "--detach", "--bundle", c.Bundle, c.ID)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return cmd
}

// empty sees that nothing was left.
func (w workspace) empty() {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil || len(entries) > 0 {
		w.t.Errorf("left in TMPDIR: %v, %v", entries, err)
	}
}

// TestExportPipe checkpoints in one state root into a pipe and restores out of it in
// another. No image stays anywhere.
func TestExportPipe(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	r, here, there := theRig(t), newWorkspace(t), newWorkspace(t)
	for _, name := range []string{"threads", "pipe"} {
		original := r.RunProgram(t, name, rig.Config{})
		original.Check("before")
		copied := r.NewProgram(t, name, rig.Config{})
		copied.Follow(&original.Talk)
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		send := here.command(original.Container, "checkpoint", "-e", "-", original.ID)
		var said bytes.Buffer
		send.Stdout, send.Stderr = to, &said
		receive := there.restore(copied.Container, from, "-i", "-")
		if err := receive.Start(); err != nil {
			t.Fatal(err)
		}
		err = send.Run()
		to.Close()
		from.Close()
		if err != nil {
			t.Errorf("checkpoint: %v: %s", err, said.String())
		}
		if err := receive.Wait(); err != nil {
			t.Fatalf("restore: %v: %s", err, copied.Output())
		}
		original.AssertGone()
		copied.Check("in the other root")
		here.empty()
		there.empty()
		for _, c := range []*rig.Container{original.Container, copied.Container} {
			if _, err := os.Lstat(c.Image); err == nil {
				t.Errorf("an image is left at %s", c.Image)
			}
		}
	}
}

// TestExportFile exports into files with each compression, and imports them.
func TestExportFile(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	w := newWorkspace(t)
	p := theRig(t).RunProgram(t, "threads", rig.Config{})
	file := filepath.Join(t.TempDir(), "export")
	for _, one := range []struct {
		name, magic string
		args        []string
	}{
		{"default", "\x28\xb5\x2f\xfd", nil},
		{"zstd", "\x28\xb5\x2f\xfd", []string{"-c", "zstd"}},
		{"gzip", "\x1f\x8b", []string{"--compress", "gzip"}},
		{"none", "././@PaxHeader", []string{"-c", "none", "--print-stats"}},
	} {
		ok(t, w.run(nil, p.Container, "checkpoint", append(one.args, "--export", file, p.ID)...))
		p.AssertGone()
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), one.magic) {
			t.Fatalf("%s: begins with %.10q, %v", one.name, text, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", one.name, info.Mode(), err)
		}
		cmd := w.restore(p.Container, nil, "-i", file)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %s", one.name, err, p.Output())
		}
		w.empty()
		p.Check(one.name)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("beside the export: %v, %v", entries, err)
	}
	// With an image it is both; with --keep the image is in its usual place.
	image := filepath.Join(t.TempDir(), "image")
	ok(t, w.run(nil, p.Container, "checkpoint", "-R", "--image", image, "-e", file, p.ID))
	ok(t, w.run(nil, p.Container, "verify", image))
	ok(t, w.run(nil, p.Container, "checkpoint", "-R", "--keep", "-e", file, p.ID))
	ok(t, w.run(nil, p.Container, "verify", p.Image))
	p.Check("left running")
}

// TestBadImport: streams that are none, end too early or are damaged. Nothing is made.
func TestBadImport(t *testing.T) {
	t.Parallel()
	c, w := idle(t, rig.Config{}), newWorkspace(t)
	c.Run()
	made := w.run(nil, c, "checkpoint", "-c", "none", "-e", "-", "--print-stats", c.ID)
	ok(t, made)
	if !strings.Contains(made.Stderr, "total_time") {
		t.Errorf("no figures on stderr: %s", made.Stderr)
	}
	c.AssertGone()
	whole := []byte(made.Stdout)
	file := filepath.Join(t.TempDir(), "import")
	args := []string{"--detach", "--bundle", c.Bundle, c.ID}
	for _, bad := range []struct {
		name string
		text []byte
	}{
		{"empty", []byte{}},
		{"something else", []byte("#!/bin/sh\n")},
		{"half", whole[:len(whole)/2]},
		{"a few bytes", whole[:600]},
		{"damaged", flip(whole, len(whole)/2)},
		{"another name", bytes.Replace(whole, []byte("image.rt"), []byte("../ge.rt"), 1)},
	} {
		if err := os.WriteFile(file, bad.text, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]rig.Result{
			"file": w.run(nil, c, "restore", append([]string{"-i", file}, args...)...),
			"pipe": w.run(bad.text, c, "restore", append([]string{"-i", "-"}, args...)...),
		} {
			t.Logf("%s, %s: %s", bad.name, name, r.Stderr)
			refused(t, r, exitImage, "import")
			c.AssertGone()
		}
	}
	refused(t, w.run(nil, c, "restore", append([]string{"-i", file + ".no"}, args...)...), exitImage, file)
	refused(t, w.run(nil, c, "restore", append([]string{"-i", c.Bundle}, args...)...), exitImage, "--image")
	refused(t, w.run(nil, c, "restore", append([]string{"-i", file, "--image", c.Image}, args...)...), exitUsage)
	cmd := w.restore(c, nil, "-i", file)
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, c.Output())
	}
}

// TestBadExport: places where no stream can go, readers that leave or do not read.
// The container runs on.
func TestBadExport(t *testing.T) {
	t.Parallel()
	c, w := idle(t, rig.Config{}), newWorkspace(t)
	c.Run()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("elsewhere", link); err != nil {
		t.Fatal(err)
	}
	refused(t, w.run(nil, c, "checkpoint", "-e", link, c.ID), exitImage, link)
	refused(t, w.run(nil, c, "checkpoint", "-e", "/dev/null", c.ID), exitImage, "/dev/null")
	refused(t, w.run(nil, c, "checkpoint", "-e", dir, c.ID), exitImage, dir)
	refused(t, w.run(nil, c, "checkpoint", "-c", "gzip", c.ID), exitUsage, "--export")
	refused(t, w.run(nil, c, "checkpoint", "-c", "lzma", "-e", "-", c.ID), exitUsage, "lzma")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	for _, leaves := range []bool{true, false} {
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := w.command(c, "checkpoint", "-c", "none", "-e", "-", c.ID)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = to, &said
		want := 1
		if leaves {
			from.Close()
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		to.Close()
		if !leaves {
			want = exitInterrupted
			rig.Eventually(t, 10*time.Second, "the pipe to be full", func() bool {
				n, err := unix.IoctlGetInt(int(from.Fd()), unix.TIOCINQ)
				return err == nil && n >= 60<<10
			})
			if err := cmd.Process.Signal(unix.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait()
		from.Close()
		t.Logf("reader leaves %v: %s", leaves, said.String())
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("exit %d, want %d: %s", code, want, said.String())
		}
		w.empty()
		if r := c.Exec("/bin/true"); r.Code != 0 {
			t.Errorf("%v", r)
		}
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.Pid()), "status"))
		if err != nil || !strings.Contains(string(stat), "TracerPid:\t0\n") || strings.Contains(string(stat), "State:\tT") {
			t.Errorf("init does not run on: %s, %v", stat, err)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// run runs the program and returns what it printed, and its error.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := &app{stdout: out, stderr: out, uninterrupt: func() {}}
	root := a.command()
	root.SetArgs(args)
	err = root.ExecuteContext(context.Background())
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, readErr := io.ReadAll(out)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(text), err
}

// testImage writes an image of a shell with a pipe to its child and a zombie.
func testImage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	w, err := image.Create(dir, image.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	records := []struct {
		id specs.ID
		r  specs.Record
	}{
		{0, &specs.Header{Tool: "1", Release: "6.18", Machine: "x86_64", PageSize: 4096, Engine: "runc", Container: "web", Root: 1}},
		{1, &specs.Task{PID: 1, Comm: "sh", State: "running", Memory: 3, FDs: 4, FS: 5, Exe: 9, Threads: []specs.ID{2}}},
		{2, &specs.Thread{TID: 1, Registers: make([]byte, 216)}},
		{3, &specs.Memory{Areas: []specs.Area{{Start: 0x1000, End: 0x2000, Prot: 5, Kind: "anon", Name: "heap of it"}}}},
		{4, &specs.FDs{Entries: []specs.FD{{Number: 3, File: 6}}}},
		{5, &specs.FS{Cwd: "/", Root: "/"}},
		{6, &specs.Pipe{Inode: 99, Size: 65536, Data: []byte("hello"), Holds: true}},
		{7, &specs.Task{PID: 8, PPID: 1, Comm: "child", State: "zombie"}},
		{9, &specs.Regular{Path: "/bin/sh"}},
		{8, &specs.Task{PID: 9, PPID: 1, Comm: "last", State: "zombie"}},
	}
	for _, r := range records {
		if err := w.Put(r.id, r.r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestInspect(t *testing.T) {
	out, err := run(t, "inspect", "-f", "-m", testImage(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`of         runc container "web"`,
		"tasks      3 tasks, 1 thread\n",
		"objects    1 fds, 1 fs, 1 memory, 1 pipe, 1 regular\n",
		"\n1 sh uid 0, 1 thread, 0 B in 1 area, 1 descriptor\n",
		"     fd 3    #6    pipe 99, 5 bytes in it\n",
		"     000000001000-000000002000 r-xp anon  [heap of it]\n",
		"├─ 8 child [zombie]\n└─ 9 last [zombie]\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestInspectJSON(t *testing.T) {
	out, err := run(t, "inspect", "--json", testImage(t))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Header  specs.Header
		Records []struct {
			Type string
			ID   specs.ID
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Header.Container != "web" || len(doc.Records) != 9 {
		t.Errorf("got %+v", doc)
	}
}

func TestVerify(t *testing.T) {
	dir := testImage(t)
	if out, err := run(t, "verify", dir); err != nil || !strings.Contains(out, "good") {
		t.Errorf("got %q, %v", out, err)
	}
	path := filepath.Join(dir, specs.ImageFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "verify", dir); exitCode(err) != exitImage {
		t.Errorf("a damaged image: %v", err)
	}
}

// TestUsage tries wrong command lines: all exit with 2.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"frob"}, {"--frob"}, {"inspect"}, {"check", "a", "b"}, {"checkpoint", "--pid", "x"},
		{"--log-format", "xml", "version"}, {"--runtime", "frob", "check", "a"}, {"restore"},
		{"check"}, {"check", "--pid", "7", "a"},
		{"checkpoint"}, {"checkpoint", "--all", "a"}, {"checkpoint", "--all", "--latest"},
		{"checkpoint", "--image", "d", "--pid", "7", "a"}, {"restore", "--name", "a", "b"},
		{"restore", "a", "b"}, {"restore", "--all", "a"}, {"restore", "--runtime", "podman", "--bundle", "b", "a", "c"},
	} {
		if _, err := run(t, args...); exitCode(err) != exitUsage && exitCode(err) != exitEnvironment {
			t.Errorf("%q: %v (%d)", args, err, exitCode(err))
		}
	}
}

func TestVersion(t *testing.T) {
	if out, err := run(t, "version"); err != nil || !strings.HasPrefix(out, "rethaw ") {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestHelp checks that every command tells what it does.
func TestHelp(t *testing.T) {
	a := &app{stdout: os.Stdout, stderr: os.Stderr}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(a.command())
}

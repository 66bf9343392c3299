package plugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// writeImage makes an image of one task with the given program and mapped file.
func writeImage(t *testing.T, exe, mapped *specs.Regular) *image.Reader {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	w, err := image.Create(dir, image.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for id, r := range []specs.Record{
		&specs.Header{PageSize: 4096, Root: 1},
		&specs.Task{PID: 1, Comm: "x", State: "running", Exe: 3, Memory: 2, FS: 5, FDs: 6, Threads: []specs.ID{7}},
		&specs.Memory{Areas: []specs.Area{{Start: 0x1000, End: 0x2000, Kind: "file", File: 4, Prot: 5}}},
		exe, mapped,
		&specs.FS{Cwd: "/", Root: "/"}, &specs.FDs{}, &specs.Thread{TID: 1, Registers: make([]byte, 216)},
	} {
		if err := w.Put(specs.ID(id), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

func TestCheckRootfs(t *testing.T) {
	rootfs := t.TempDir()
	if err := os.MkdirAll(filepath.Join(rootfs, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rootfs, "bin/x"), []byte("12345"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(rootfs, "bin/out")); err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Dir: "/b", Rootfs: rootfs, Config: &Config{Mounts: []runtimespec.Mount{{Destination: "/usr"}}}}
	good := &specs.Regular{Path: "/bin/x", Size: 5}
	tests := []struct {
		name   string
		mapped *specs.Regular
		text   string
	}{
		{"there", good, ""},
		{"missing", &specs.Regular{Path: "/lib/libc.so", Size: 1}, "lacks /lib/libc.so"},
		{"other size", &specs.Regular{Path: "/bin/x", Size: 6}, "5 bytes and had 6"},
		{"on a mount", &specs.Regular{Path: "/usr/lib/x", Size: 6}, ""},
		{"only begins like a mount", &specs.Regular{Path: "/usrlocal/x"}, "lacks"},
		{"a link out of the root", &specs.Regular{Path: "/bin/out", Size: 6}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckRootfs(writeImage(t, good, tt.mapped), b)
			if tt.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

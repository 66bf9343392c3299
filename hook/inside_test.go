package hook

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostile makes a root filesystem whose links lead out of it.
func hostile(t *testing.T, links map[string]string) (root int, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, target := range links {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	return root, dir
}

func TestOpenInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	root, dir := hostile(t, map[string]string{"abs": outside, "up": "../../../../../../../.." + outside, "loop": "loop", "good": "/a/./b"})
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"/abs": unix.ENOENT, "/up": unix.ENOENT, "/loop": unix.ELOOP, "/../../.." + outside: unix.ENOENT, "/good": nil, "/a/b": nil, "/none": unix.ENOENT,
	} {
		fd, err := openInside(root, path, unix.O_PATH)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

func TestMountpoint(t *testing.T) {
	outside := t.TempDir()
	t.Run("made in an empty root, and removed", func(t *testing.T) {
		root, dir := hostile(t, nil)
		fd, err := mountpoint(root)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if fd, err = mountpoint(root); err != nil {
			t.Fatalf("the second time: %v", err)
		}
		unix.Close(fd)
		if err := removeMountpoint(dir); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "run")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("a directory that leads out", func(t *testing.T) {
		root, _ := hostile(t, map[string]string{"run": outside})
		if fd, err := mountpoint(root); err == nil {
			unix.Close(fd)
			t.Error("made")
		}
	})
	t.Run("a file that leads out", func(t *testing.T) {
		root, dir := hostile(t, map[string]string{"run/rethaw.sock": filepath.Join(outside, "x")})
		if fd, err := mountpoint(root); err == nil {
			unix.Close(fd)
			t.Error("made")
		}
		if err := removeMountpoint(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "run", "rethaw.sock")); err != nil {
			t.Error("the link of the image was removed")
		}
	})
	t.Run("a file of the image", func(t *testing.T) {
		_, dir := hostile(t, nil)
		path := filepath.Join(dir, "run", "rethaw.sock")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := removeMountpoint(dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error("a file of the image was removed")
		}
	})
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("made outside: %v", left)
	}
}

func TestMadeSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made")
	before := coarseNow().Add(-time.Millisecond)
	if made, err := madeSince(os.Getpid(), path, before); made || err != nil {
		t.Errorf("not there: %v, %v", made, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := madeSince(os.Getpid(), path, before); !made || err != nil {
		t.Errorf("there: %v, %v", made, err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if made, err := madeSince(os.Getpid(), path, time.Now().Add(time.Second)); made || err != nil {
		t.Errorf("there before: %v, %v", made, err)
	}
	if made, err := madeSince(1<<22, path, before); made || err != nil {
		t.Errorf("no process: %v, %v", made, err)
	}
}

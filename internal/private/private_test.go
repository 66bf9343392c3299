package private

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhateverTheUmask is the only test of this package that makes files: the umask is the process's.
func TestWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		old := unix.Umask(mask)
		err := MkdirAll(at("a/b/c"))
		again := MkdirAll(at("a/b/c"))
		write := WriteFile(at("a/file"), []byte("long text"))
		rewrite := WriteFile(at("a/file"), []byte("text"))
		f, temp := CreateTemp(at("a"), "x-*")
		opened, open := OpenFile(at("a/log"), os.O_WRONLY|os.O_APPEND)
		unix.Umask(old)
		for _, err := range []error{err, again, write, rewrite, temp, open} {
			if err != nil {
				t.Fatalf("umask %o: %v", mask, err)
			}
		}
		f.Close()
		opened.Close()
		if text, err := os.ReadFile(at("a/file")); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		_ = filepath.WalkDir(at("a"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			want := os.FileMode(FileMode)
			if d.IsDir() {
				want = os.ModeDir | DirMode
			}
			if info, err := d.Info(); err != nil || info.Mode() != want {
				t.Errorf("umask %o: %s: %v, %v", mask, path, info.Mode(), err)
			}
			return nil
		})
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("mine"), 0o644), os.Symlink("file", at("link")), unix.Mkfifo(at("fifo"), 0o600), os.Symlink("none", at("dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"link", "fifo", ".", "dangling"} {
		if f, err := OpenFile(at(name), os.O_WRONLY|os.O_TRUNC); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	for _, name := range []string{"file/x", "file", "dangling"} {
		if err := MkdirAll(at(name)); err == nil {
			t.Errorf("a directory was made at %s", name)
		}
	}
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	// What was open to others is not any more.
	f, err := OpenFile(at("file"), os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if info, err := os.Stat(at("file")); err != nil || info.Mode() != FileMode {
		t.Error(info.Mode(), err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(at("file"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if f, err := OpenFile(at("file"), os.O_WRONLY); err == nil {
			f.Close()
			t.Error("another user's file was opened")
		}
	}
}

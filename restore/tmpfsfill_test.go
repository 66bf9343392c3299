package restore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/internal/pax"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// fillFrom fills a directory of a tmpfs from an archive with these entries, which
// all have the data "data" if they are regular files.
func fillFrom(t *testing.T, entries []pax.Header) (dir string, err error) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || os.Geteuid() != 0 {
		t.Skip("needs root, and a tmpfs at /dev/shm")
	}
	dir, err = os.MkdirTemp("/dev/shm", "rethaw-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range []string{"stale/below", "kept"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := pax.NewWriter(&b)
	for _, h := range append([]pax.Header{{Name: "point", Type: pax.Directory, Mode: 0o711}}, entries...) {
		if h.Type == pax.Regular {
			h.Size = 4
		}
		if err := w.Header(&h); err != nil {
			t.Fatal(err)
		}
		if h.Type == pax.Regular {
			if _, err := io.WriteString(w, "data"); err != nil {
				t.Fatal(err)
			}
		}
	}
	archive, err := os.Create(filepath.Join(t.TempDir(), "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if _, err := archive.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	f, err := newFiller(&restorer{log: logrus.NewEntry(silent)}, &specs.Tmpfs{Point: "/point", Bytes: int64(b.Len())}, archive, top)
	if err != nil {
		t.Fatal(err)
	}
	return dir, f.fill()
}

func TestFill(t *testing.T) {
	dir, err := fillFrom(t, []pax.Header{
		{Name: "point/link", Type: pax.Directory, Mode: 0o750},
		{Name: "point/link/file", Type: pax.Regular, Mode: 0o4755, UID: 12, GID: 13, Mtime: 1500000000222222222, Atime: 7},
		{Name: "point/kept", Type: pax.Directory, Mode: 0o700},
		{Name: "point/hard", Type: pax.HardLink, Link: "point/link/file"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var stat, hard unix.Stat_t
	if err := unix.Lstat(dir+"/link/file", &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Mode != unix.S_IFREG|0o4755 || stat.Uid != 12 || stat.Gid != 13 || stat.Mtim.Nano() != 1500000000222222222 || stat.Atim.Nano() != 7 {
		t.Errorf("%+v", stat)
	}
	if err := unix.Lstat(dir+"/hard", &hard); err != nil || hard.Ino != stat.Ino {
		t.Errorf("hard link: %v", err)
	}
	if b, err := os.ReadFile(dir + "/hard"); string(b) != "data" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(dir + "/stale"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the image has not is there: %v", err)
	}
}

// TestFillStays: no archive leads out of the mount.
func TestFillStays(t *testing.T) {
	outside := t.TempDir()
	for name, entries := range map[string][]pax.Header{
		"through a link":  {{Name: "point/x", Type: pax.Symlink, Link: outside}, {Name: "point/x/evil", Type: pax.Regular}},
		"link to a link":  {{Name: "point/x", Type: pax.Symlink, Link: outside}, {Name: "point/y", Type: pax.HardLink, Link: "point/x/evil"}},
		"upwards":         {{Name: "point/../evil", Type: pax.Regular}},
		"another mount":   {{Name: "other/evil", Type: pax.Regular}},
		"link to another": {{Name: "point/y", Type: pax.HardLink, Link: "etc/passwd"}},
		"link upwards":    {{Name: "point/y", Type: pax.HardLink, Link: "point/../etc/passwd"}},
		"out of order":    {{Name: "point/a/evil", Type: pax.Regular}},
	} {
		if _, err := fillFrom(t, entries); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}

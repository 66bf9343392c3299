package layer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/internal/pax"
)

// archive writes entries; regular files have "data" in them.
func archive(t testing.TB, list ...pax.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pax.NewWriter(&b)
	for i := range list {
		h := &list[i]
		if h.Type == pax.Regular && h.Size == 0 {
			h.Size = 4
		}
		if err := w.Header(h); err != nil {
			t.Fatal(err)
		}
		if h.Type == pax.Regular && h.Size == 4 {
			if _, err := io.WriteString(w, "data"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// outsider is a directory with a root filesystem and, beside it, a file that nobody may touch.
func outsider(t testing.TB) (root, secret string) {
	t.Helper()
	dir := t.TempDir()
	root, secret = filepath.Join(dir, "root"), filepath.Join(dir, "secret")
	for _, err := range []error{
		os.Mkdir(root, 0o755), os.WriteFile(secret, []byte("secret"), 0o600), os.WriteFile(filepath.Join(root, "file"), []byte("old"), 0o644),
		os.Symlink("..", filepath.Join(root, "up")), os.Symlink("../secret", filepath.Join(root, "out")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root, secret
}

// TestHostile: entries that no export has are refused before anything is touched.
func TestHostile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are only kept by root")
	}
	top, sub := pax.Header{Name: "rootfs", Type: pax.Directory, Mode: 0o755}, pax.Header{Name: "rootfs/d", Type: pax.Directory, Mode: 0o755}
	long := strings.Repeat("x", 256)
	for name, list := range map[string][]pax.Header{
		"climbs":                 {top, {Name: "rootfs/../secret", Type: pax.Regular}},
		"absolute":               {top, {Name: "/secret", Type: pax.Regular}},
		"another prefix":         {top, {Name: "rootfsx", Type: pax.Regular}},
		"through a link":         {top, {Name: "rootfs/l", Type: pax.Symlink, Link: ".."}, {Name: "rootfs/l/secret", Type: pax.Regular}},
		"through the base's":     {top, {Name: "rootfs/up/secret", Type: pax.Regular}},
		"through a hard link":    {top, {Name: "rootfs/l", Type: pax.Symlink, Link: ".."}, {Name: "rootfs/h", Type: pax.HardLink, Link: "rootfs/l"}, {Name: "rootfs/h/secret", Type: pax.Regular}},
		"hard link out":          {top, {Name: "rootfs/h", Type: pax.HardLink, Link: "rootfs/../secret"}},
		"hard link to base":      {top, {Name: "rootfs/h", Type: pax.HardLink, Link: "rootfs/out"}},
		"hard link to directory": {top, sub, {Name: "rootfs/h", Type: pax.HardLink, Link: "rootfs/d"}},
		"hard link to nothing":   {top, {Name: "rootfs/h", Type: pax.HardLink, Link: "rootfs/file"}},
		"device":                 {top, {Name: "rootfs/sda", Type: pax.Block, Major: 8, Mode: 0o666}},
		"character device":       {top, {Name: "rootfs/mem", Type: pax.Char, Major: 1, Minor: 1, Mode: 0o666}},
		"twice":                  {top, sub, {Name: "rootfs/d", Type: pax.Regular}},
		"no directory first":     {sub},
		"top is a link":          {{Name: "rootfs", Type: pax.Symlink, Link: "/"}},
		"no parent":              {top, {Name: "rootfs/a/b", Type: pax.Regular}},
		"parent is a file":       {top, {Name: "rootfs/a", Type: pax.Regular}, {Name: "rootfs/a/b", Type: pax.Regular}},
		"stage":                  {top, {Name: "rootfs/" + StagePrefix + "1", Type: pax.Directory}},
		"long name":              {top, {Name: "rootfs/" + long, Type: pax.Regular}},
		"long link":              {top, {Name: "rootfs/l", Type: pax.Symlink, Link: strings.Repeat("x", 5000)}},
		"empty link":             {top, {Name: "rootfs/l", Type: pax.Symlink}},
		"mount point":            {top, {Name: "rootfs/m", Type: pax.Directory, Mountpoint: true}},
		"immutable":              {top, {Name: "rootfs/f", Type: pax.Regular, Flags: 0x10}},
		"overlay mark":           {top, {Name: "rootfs/d", Type: pax.Directory, Xattrs: []pax.Xattr{{Name: "trusted.overlay.redirect", Value: "/"}}}},
		"label":                  {top, {Name: "rootfs/f", Type: pax.Regular, Xattrs: []pax.Xattr{{Name: "security.selinux", Value: "x"}}}},
		"no owner":               {top, {Name: "rootfs/f", Type: pax.Regular, UID: ^uint32(0)}},
		"whiteout of the top":    {{Name: "rootfs", Type: pax.Whiteout}},
	} {
		root, secret := outsider(t)
		before := describe(t, filepath.Dir(root))
		s, err := load(t, archive(t, list...), root)
		if !errors.Is(err, pax.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Undo(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := describe(t, filepath.Dir(root)); strings.Join(after, "\n") != strings.Join(before, "\n") {
			t.Errorf("%s: %v became %v", name, before, after)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestLinksOfTheBase: links in the base that lead out are replaced, and never followed.
func TestLinksOfTheBase(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are only kept by root")
	}
	root, secret := outsider(t)
	s, err := load(t, archive(t,
		pax.Header{Name: "rootfs", Type: pax.Directory, Mode: 0o755},
		pax.Header{Name: "rootfs/out", Type: pax.Regular, Mode: 0o644},
		pax.Header{Name: "rootfs/up", Type: pax.Directory, Mode: 0o755},
		pax.Header{Name: "rootfs/up/secret", Type: pax.Regular, Mode: 0o644},
		pax.Header{Name: "rootfs/up/root", Type: pax.Whiteout},
		pax.Header{Name: "rootfs/huge", Type: pax.Regular, Mode: 0o644, Size: 1 << 42, Sparse: true},
	), root)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{secret: "secret", filepath.Join(root, "out"): "data", filepath.Join(root, "up/secret"): "data"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if info, err := os.Lstat(filepath.Join(root, "up")); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

// TestTruncated: an archive that is cut off anywhere is refused.
func TestTruncated(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are only kept by root")
	}
	root, _ := outsider(t)
	whole := archive(t, pax.Header{Name: "rootfs", Type: pax.Directory}, pax.Header{Name: "rootfs/f", Type: pax.Regular, Size: 4})
	for n := 1; n <= len(whole)-1024; n += 101 {
		s, err := load(t, whole[:n], root)
		if err == nil && s.Has("f") {
			t.Errorf("%d bytes of %d were taken", n, len(whole))
		}
		if err != nil && !errors.Is(err, pax.ErrFormat) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err := s.Undo(); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzStage: whatever an archive says, nothing happens outside of the root filesystem, and after an
// undo nothing has happened in it.
func FuzzStage(f *testing.F) {
	if os.Getuid() != 0 {
		f.Skip("owners are only kept by root")
	}
	f.Add(archive(f, pax.Header{Name: "rootfs", Type: pax.Directory, Mode: 0o755}, pax.Header{Name: "rootfs/file", Type: pax.Regular},
		pax.Header{Name: "rootfs/l", Type: pax.Symlink, Link: ".."}, pax.Header{Name: "rootfs/out", Type: pax.Whiteout},
		pax.Header{Name: "rootfs/up", Type: pax.Directory, Opaque: true}, pax.Header{Name: "rootfs/up/h", Type: pax.HardLink, Link: "rootfs/file"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, secret := outsider(t)
		s, err := NewStage(root)
		if err != nil {
			t.Fatal(err)
		}
		for r := pax.NewStream(bufio.NewReader(bytes.NewReader(b))); ; {
			e, err := r.Next()
			if err != nil {
				break
			}
			if err := s.Add(e, "rootfs", r.Data()); err != nil {
				break
			}
		}
		if err := s.Apply(); err != nil {
			t.Log(err)
		}
		if err := s.Undo(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
			t.Fatalf("%q, %v", text, err)
		}
		if text, err := os.ReadFile(filepath.Join(root, "file")); err != nil || string(text) != "old" {
			t.Fatalf("%q, %v", text, err)
		}
		if list, err := os.ReadDir(root); err != nil || len(list) != 3 {
			t.Fatalf("%v, %v", list, err)
		}
	})
}

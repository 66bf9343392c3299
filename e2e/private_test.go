package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// modes checks the modes of a file, or of a directory and all in it, which but for those in
// except are 0600 and 0700.
func modes(t *testing.T, top string, except map[string]fs.FileMode) (seen int) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want, known := except[filepath.Base(path)]
		switch {
		case known:
		case d.IsDir():
			want = fs.ModeDir | 0o700
		default:
			want = 0o600
		}
		if info.Mode() != want {
			t.Errorf("%s: %v, want %v", path, info.Mode(), want)
		}
		seen++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return seen
}

// TestPrivate: all that a checkpoint, an export and the hook make is for root alone, whatever the umask.
func TestPrivate(t *testing.T) {
	t.Parallel()
	to, _ := keys(t)
	for _, mask := range []int{0, 0o777} {
		t.Run(fmt.Sprintf("%04o", mask), func(t *testing.T) {
			t.Parallel()
			c := idle(t, rig.Config{})
			addHook(t, c, "checkpoint.on-request=true", "checkpoint.after=200ms", "checkpoint.image="+filepath.Join(c.Bundle, "below", "two", "{id}-{time}"))
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			err := rig.WithUmask(mask, func() {
				if err := os.WriteFile(at("witness"), nil, 0o666); err != nil {
					t.Error(err)
				}
				runIdle(t, c)
				taken(t, c, 1)
				for _, args := range [][]string{
					{"--image", at("plain"), "--keep"},
					{"--image", at("sealed"), "--encrypt-to", to},
					{"-e", at("export")},
					{"-e", at("export.age"), "--encrypt-to", to},
				} {
					if r := c.TryRethaw("checkpoint", append(append([]string{"-R"}, args...), c.ID)...); r.Code != 0 {
						t.Error(r)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(at("witness")); err != nil || info.Mode() != 0o666&^fs.FileMode(mask) {
				t.Errorf("the umask is another: %v, %v", info.Mode(), err)
			}
			for name, least := range map[string]int{"plain": 3, "plain.log": 1, "sealed": 2, "export": 1, "export.age": 1} {
				if n := modes(t, at(name), nil); n < least {
					t.Errorf("%s: %d files", name, n)
				}
			}
			modes(t, filepath.Join(c.Bundle, "below"), nil)
			places, err := filepath.Glob("/run/rethaw/hook/" + c.ID + "-*")
			if err != nil || len(places) != 1 {
				t.Fatal(places, err)
			}
			// The directory is for the hook of a user namespace to pass through, the socket for every
			// user of the container.
			n := modes(t, places[0], map[string]fs.FileMode{filepath.Base(places[0]): fs.ModeDir | 0o711, "sock": fs.ModeSocket | 0o666})
			if n < 4 {
				t.Errorf("%d files in %s", n, places[0])
			}
			locks, err := filepath.Glob("/run/rethaw/*.lock")
			if err != nil {
				t.Fatal(err)
			}
			for _, lock := range locks {
				// They come and go with the work of others.
				if info, err := os.Lstat(lock); err == nil && info.Mode().Perm() != 0o600 && info.Mode().Perm() != 0 {
					t.Errorf("%s: %v", lock, info.Mode())
				}
			}
			if info, err := os.Stat("/run/rethaw"); err != nil || info.Mode().Perm()&0o066 != 0 {
				t.Errorf("/run/rethaw: %v, %v", info.Mode(), err)
			}
			c.Delete()
			if left, _ := filepath.Glob(at("*.partial")); len(left) > 0 {
				t.Errorf("left: %s", strings.Join(left, ", "))
			}
		})
	}
}

package layer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// describe lists a tree: every name with all that this package carries.
func describe(t *testing.T, dir string) []string {
	t.Helper()
	f, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := stat(f, "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := newWalk(t.Context(), pax.NewWriter(&b)).tree(f, "t", s, false); err != nil {
		t.Fatal(err)
	}
	var list []string
	for r := pax.NewStream(bufio.NewReader(&b)); ; {
		e, err := r.Next()
		if errors.Is(err, pax.ErrTruncated) || err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r.Data())
		if err != nil {
			t.Fatal(err)
		}
		e.Atime, e.Full, e.At = 0, false, 0
		list = append(list, fmt.Sprintf("%+v %q", e.Header, data))
	}
}

// shell runs a script in a directory.
func shell(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// makeBase makes a tree to be changed, and change changes it in all ways.
const (
	makeBase = `umask 022
mkdir -p etc/sub var/lib/db opt/old/deep home/x keep a/b/c; echo root > etc/passwd; echo hosts > etc/hosts; echo 1 > var/lib/db/data
ln -s ../run var/run; mkdir run; echo one > opt/old/deep/one; echo two > opt/old/two; echo same > keep/same
echo h > home/h1; ln home/h1 home/h2; ln home/h1 home/h3; echo dir > becomes-dir; mkdir becomes-file; echo in > becomes-file/in
mkdir becomes-link; echo t > becomes-link/t; echo x > chmodded; echo x > a/b/c/d; touch -d 2001-02-03 keep/same`
	change = `umask 022
echo changed >> etc/passwd; rm etc/hosts; echo new > etc/new; rm -r opt/old; mkdir opt/old; echo fresh > opt/old/three
rm home/h2; echo more >> home/h1; ln home/h1 home/h4; rm becomes-dir; mkdir becomes-dir; echo f > becomes-dir/f
rm -r becomes-file; echo file > becomes-file; rm -r becomes-link; ln -s /etc becomes-link; chmod 4711 chmodded
chown 12:34 var/lib/db; mkfifo var/fifo; truncate -s 1M var/sparse; echo end >> var/sparse; chmod 1777 a/b
rm var/run; mkdir var/run; echo pid > var/run/pid; printf 'odd' > "$(printf 'n\na\377me')"; rm -r a/b/c`
)

// changed makes a base and, beside it, the same changed.
func changed(t *testing.T) (base, now string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners are only kept by root")
	}
	dir := t.TempDir()
	base, now = filepath.Join(dir, "base"), filepath.Join(dir, "now")
	if err := os.Mkdir(base, 0o755); err != nil {
		t.Fatal(err)
	}
	shell(t, base, makeBase)
	shell(t, dir, "cp -a base now")
	shell(t, now, change)
	if err := unix.Setxattr(filepath.Join(now, "keep"), "user.mark", []byte("\x00v"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	return base, now
}

// save writes changes as an archive.
func save(t *testing.T, c Changes) []byte {
	t.Helper()
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := pax.NewWriter(&b)
	if err := c.Save(t.Context(), w, "rootfs"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// load stages an archive in a directory.
func load(t testing.TB, archive []byte, dir string) (*Stage, error) {
	t.Helper()
	s, err := NewStage(dir)
	if err != nil {
		t.Fatal(err)
	}
	for r := pax.NewStream(bufio.NewReader(bytes.NewReader(archive))); ; {
		e, err := r.Next()
		if err == io.EOF {
			return s, nil
		}
		if err == nil {
			err = s.Add(e, "rootfs", r.Data())
		}
		if err != nil {
			return s, err
		}
	}
}

// carry brings changes into a directory, undoes them, and brings them again.
func carry(t *testing.T, archive []byte, into string, want []string) {
	t.Helper()
	before := describe(t, into)
	for _, keep := range []bool{false, true} {
		s, err := load(t, archive, into)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(); err != nil {
			t.Fatal(err)
		}
		if err := s.Settle(); err != nil {
			t.Fatal(err)
		}
		if keep {
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
			break
		}
		if err := s.Undo(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, describe(t, into)); diff != "" {
			t.Fatalf("not undone:\n%s", diff)
		}
	}
	if diff := cmp.Diff(want, describe(t, into)); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
	list, err := os.ReadDir(into)
	if err != nil || slices.ContainsFunc(list, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), StagePrefix) }) {
		t.Errorf("a stage is left: %v", err)
	}
}

// TestDiff carries the difference of two directories to a copy of the base.
func TestDiff(t *testing.T) {
	base, now := changed(t)
	archive := save(t, &Diff{Dir: now, Base: base})
	if bytes.Contains(archive, []byte("same\n")) {
		t.Error("what has not changed is in the archive")
	}
	carry(t, archive, base, describe(t, now))
}

// TestDiffFindsLateChanges: a file that Check found to be equal and that changes then, even
// with its old time.
func TestDiffFindsLateChanges(t *testing.T) {
	base, now := changed(t)
	d := &Diff{Dir: now, Base: base}
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	shell(t, now, "echo SAME > keep/same; touch -d 2001-02-03 keep/same")
	var b bytes.Buffer
	if err := d.Save(t.Context(), pax.NewWriter(&b), "rootfs"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("SAME\n")) {
		t.Error("the change was not seen")
	}
}

// TestWhole carries a volume.
func TestWhole(t *testing.T) {
	_, now := changed(t)
	into := filepath.Join(t.TempDir(), "volume")
	if err := os.MkdirAll(filepath.Join(into, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	carry(t, save(t, Whole{now}), into, describe(t, now))
}

// overlay mounts one.
func overlay(t *testing.T, options string, lower ...string) (merged, upper string) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skipf("no mounts here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	for _, sub := range []string{"upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged, upper = filepath.Join(dir, "merged"), filepath.Join(dir, "upper")
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s/work%s", strings.Join(lower, ":"), upper, dir, options)
	if err := unix.Mount("overlay", merged, "overlay", 0, data); err != nil {
		t.Skipf("no overlay here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
	return merged, upper
}

// TestUpper carries the upper directory of an overlay: into a plain copy of the base, and into
// an overlay over the base; with the ways of overlayfs to leave data in the lower directory.
func TestUpper(t *testing.T) {
	for _, options := range []string{"", ",redirect_dir=on,metacopy=on"} {
		t.Run(options, func(t *testing.T) {
			base, _ := changed(t)
			merged, upper := overlay(t, options, base)
			shell(t, merged, change+`
chmod 600 keep/same`)
			if options != "" {
				// Without the option mv copies.
				shell(t, merged, "ln keep/same keep/linked; mv var/lib var/moved; rm var/moved/db/data; echo late > var/moved/late")
				for name, of := range map[string]string{"redirect": "var/moved", "metacopy": "keep/same"} {
					got, err := mark(func(attr string, b []byte) (int, error) { return unix.Getxattr(filepath.Join(upper, of), attr, b) }, name)
					if err != nil || got == "" {
						t.Fatalf("%s is not marked with %s: the test tests nothing: %v", of, name, err)
					}
				}
			}
			want := describe(t, merged)
			archive := save(t, Upper{Dir: upper, Merged: merged})
			// Without an index overlayfs parts hard links when it copies files up.
			other, _ := overlay(t, ",index=on", base)
			carry(t, archive, other, want)
			carry(t, archive, base, want)
		})
	}
}

// TestRecover: what an import has begun and not ended is taken back by the next one, and what
// it has ended stays.
func TestRecover(t *testing.T) {
	base, now := changed(t)
	archive := save(t, &Diff{Dir: now, Base: base})
	before := describe(t, base)
	s, err := load(t, archive, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewStage(base); !errors.Is(err, ErrBusy) {
		t.Errorf("a second import beside the first: %v", err)
	}
	if c, err := os.Stat(filepath.Join(base, s.name, journalFile)); err != nil || c.Size() == 0 {
		t.Errorf("no journal: %v", err)
	}
	// It dies in the middle of an undo, while it writes.
	if err := s.journal.undo(s.root, s.dir, s.mount, len(s.journal.steps)/2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.journal.back(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.journal.file.WriteString(`{"path":`); err != nil {
		t.Fatal(err)
	}
	s.close()
	again, err := NewStage(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Undo(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, describe(t, base)); diff != "" {
		t.Errorf("not taken back:\n%s", diff)
	}
}

// TestRecoverSettled: what has been settled stays, and only what it replaced is removed.
func TestRecoverSettled(t *testing.T) {
	base, now := changed(t)
	s, err := load(t, save(t, &Diff{Dir: now, Base: base}), base)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Apply(), s.Settle()); err != nil {
		t.Fatal(err)
	}
	s.close()
	again, err := NewStage(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Undo(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(describe(t, now), describe(t, base)); diff != "" {
		t.Errorf("it did not stay:\n%s", diff)
	}
}

// TestHostileJournal: a container can write a stage into its own root filesystem.
func TestHostileJournal(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, path := range []string{"..", "a/..", "/etc", "../x", "link/x"} {
		dir := t.TempDir()
		root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "x")
		stage := filepath.Join(root, StagePrefix+"1")
		if err := os.MkdirAll(filepath.Join(stage, oldDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(stage, 0o700); err != nil {
			t.Fatal(err)
		}
		shell(t, root, "ln -s .. link; touch ../x")
		line := fmt.Sprintf(`{"path":"%s","new":true}`+"\n", pathToText(path))
		if err := os.WriteFile(filepath.Join(stage, journalFile), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := NewStage(root); err == nil {
			t.Errorf("%s: taken", path)
			s.close()
		}
		if _, err := os.Stat(outside); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

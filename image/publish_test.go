package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

func TestSecondWriterIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	w := create(t, dir)
	if _, err := Create(dir); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	build(t, w)
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	create(t, dir)
}

func TestReplacesAnOlderImage(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	commit(t, dir)
	old := open(t, dir)
	w := create(t, dir)
	only(t, parent, "checkpoint", "checkpoint.partial")
	if err := w.Put(0, &specs.Header{Tool: "newer", PageSize: uint32(os.Getpagesize())}); err != nil {
		t.Fatal(err)
	}
	if got := open(t, dir).Header().Tool; got != "test" {
		t.Errorf("before commit there is %q", got)
	}
	stats, err := w.Commit(t.Context())
	if err != nil || !stats.Replaced {
		t.Fatal(stats, err)
	}
	only(t, parent, "checkpoint", "checkpoint.partial")
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	only(t, parent, "checkpoint")
	only(t, dir, "image.rt")
	if got := open(t, dir).Header().Tool; got != "newer" {
		t.Errorf("after commit there is %q", got)
	}
	// Who has the old image open keeps what it has read and learns that the rest
	// is gone.
	if _, err := old.PagesFile(1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWhatIsInTheWay(t *testing.T) {
	write := func(path ...string) func(string) error {
		return func(dir string) error {
			file := filepath.Join(append([]string{dir}, path...)...)
			return errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("mine"), 0o600))
		}
	}
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    error
	}{
		"nothing":             {func(string) error { return nil }, nil},
		"an empty directory":  {func(dir string) error { return os.Mkdir(dir, 0o755) }, nil},
		"a file":              {write(), ErrOccupied},
		"a home directory":    {write("Letters.txt"), ErrOccupied},
		"files like ours":     {write("notes.txt"), ErrOccupied},
		"a broken image":      {write("image.rt"), ErrOccupied},
		"a link":              {func(dir string) error { return os.Symlink("elsewhere", dir) }, ErrOccupied},
		"a partial of theirs": {func(dir string) error { return write("Letters.txt")(dir + specs.PartialSuffix) }, ErrOccupied},
		"a partial link":      {func(dir string) error { return os.Symlink("/tmp", dir+specs.PartialSuffix) }, ErrOccupied},
		"a partial file":      {func(dir string) error { return write()(dir + specs.PartialSuffix) }, ErrOccupied},
		"an image with more": {func(dir string) error {
			commit(t, dir)
			return write("README")(dir)
		}, ErrOccupied},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "checkpoint")
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			w, err := Create(dir)
			if !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			if err == nil {
				build(t, w)
				if _, err := w.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, dir := range []string{"/", "x" + specs.PartialSuffix} {
		if _, err := Create(dir); !errors.Is(err, ErrOccupied) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestOccupiedMeanwhile: what comes to stand at dir while an image is written is
// not overwritten.
func TestOccupiedMeanwhile(t *testing.T) {
	for name, c := range map[string]func(dir string) error{
		"a file":      func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a directory": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "Letters"), 0o700) },
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "checkpoint")
		w := create(t, dir)
		build(t, w)
		if err := c(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context()); !errors.Is(err, ErrOccupied) {
			t.Errorf("%s: %v", name, err)
		}
		only(t, parent, "checkpoint")
	}
}

// TestRacingWriters: of many that want one directory each either gets it or is
// told that it is busy, and an image stands there at any time after the first.
func TestRacingWriters(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	commit(t, dir)
	done := make(chan error)
	for range 4 {
		go func() {
			done <- func() error {
				for range 20 {
					w, err := Create(dir, WithoutSync())
					if err == nil {
						err = w.Put(0, header())
					}
					if err == nil {
						_, err = w.Commit(t.Context())
						err = errors.Join(err, w.Abort())
					}
					if err != nil && !errors.Is(err, ErrBusy) {
						return err
					}
					r, err := Open(dir)
					if err != nil {
						return err
					}
					if err == nil {
						r.Close()
					}
				}
				return nil
			}()
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	only(t, parent, "checkpoint")
}

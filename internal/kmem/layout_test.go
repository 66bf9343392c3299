package kmem

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLayoutIsKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, whose directory it is kept in")
	}
	if _, err := os.Stat(btfPath); err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "kept")
	l := openLayout(dir)
	want, err := l.offset("task_struct.group_leader")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.offset("task_struct.no_such_thing"); err == nil {
		t.Error("what no kernel has is found")
	}
	size, err := l.size("task_struct")
	if err != nil {
		t.Fatal(err)
	}
	if at, err := l.place("somewhere", func() (int, error) { return 24, nil }); at != 24 || err != nil {
		t.Errorf("place %d, %v", at, err)
	}
	if _, err := l.place("nowhere", func() (int, error) { return 0, os.ErrNotExist }); err == nil {
		t.Error("what was not found is found")
	}
	l.keep()
	again := openLayout(dir)
	if at, err := again.place("somewhere", nil); at != 24 || err != nil {
		t.Errorf("kept place %d: %v", at, err)
	}
	if _, known := again.found.Places["nowhere"]; known {
		t.Error("an error is kept")
	}
	if off, err := again.offset("task_struct.group_leader"); off != want || err != nil || again.types != nil {
		t.Errorf("kept offset %d, not %d: %v", off, want, err)
	}
	if n, err := again.size("task_struct"); n != size || err != nil || again.types != nil {
		t.Errorf("kept size %d, not %d: %v", n, size, err)
	}
	if _, err := again.offset("task_struct.no_such_thing"); err == nil || again.types != nil {
		t.Errorf("what is not there is looked for again: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"of another boot": func() error {
			return os.WriteFile(again.path, []byte(`{"Boot":"x","Sizes":{},"Offsets":{},"Places":{}}`), 0o600)
		},
		"garbage":          func() error { return os.WriteFile(again.path, []byte("{"), 0o600) },
		"others' to write": func() error { return os.Chmod(again.path, 0o666) },
		"a link": func() error {
			if err := os.Rename(again.path, again.path+".2"); err != nil {
				return err
			}
			return os.Symlink(again.path+".2", again.path)
		},
	} {
		l.keep()
		if err := spoil(); err != nil {
			t.Fatal(name, err)
		}
		if got := openLayout(dir); len(got.found.Offsets) != 0 {
			t.Errorf("%s is believed", name)
		}
		os.Remove(again.path)
	}
}

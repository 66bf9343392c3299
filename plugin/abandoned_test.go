package plugin

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTaken(t *testing.T) {
	old := time.Now().Add(-time.Minute)
	for name, c := range map[string]struct {
		prepare func(dir string) error
		taken   bool
		remains bool
	}{
		"nothing":       {func(string) error { return nil }, false, false},
		"a container":   {func(dir string) error { return os.MkdirAll(filepath.Join(dir, "state.json"), 0o700) }, true, true},
		"an old empty":  {func(dir string) error { return os.Mkdir(dir, 0o700) }, false, false},
		"a file":        {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, true, true},
		"a broken link": {func(dir string) error { return os.Symlink("nowhere", dir) }, true, true},
	} {
		dir := filepath.Join(t.TempDir(), "id")
		if err := c.prepare(dir); err != nil {
			t.Fatal(err)
		}
		_ = os.Chtimes(dir, old, old)
		if got := taken(dir); got != c.taken {
			t.Errorf("%s: taken is %v", name, got)
		}
		if _, err := os.Lstat(dir); (err == nil) != c.remains {
			t.Errorf("%s: afterwards %v", name, err)
		}
	}
}

// TestTakenWhileMade has a runtime fill the directory a moment after it has made it.
func TestTakenWhileMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		_ = os.WriteFile(filepath.Join(dir, "state.json"), nil, 0o600)
	}()
	if !taken(dir) {
		t.Error("a container that is being made is taken for abandoned")
	}
}

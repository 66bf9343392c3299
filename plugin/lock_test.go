package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLock(t *testing.T) {
	name := "test-" + t.Name()
	held, err := lock(name, "the thing")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(name, "the thing")
	var busy *BusyError
	if !errors.As(err, &busy) || !errors.Is(err, ErrBusy) || busy.Pid != os.Getpid() {
		t.Errorf("second lock: %v", err)
	}
	path := held.file.Name()
	held.Unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
	again, err := lock(name, "the thing")
	if err != nil {
		t.Fatal(err)
	}
	again.Unlock()
}

// TestLockExcludes lets many lock and unlock at once: the removal of the file must
// never let two in.
func TestLockExcludes(t *testing.T) {
	var inside, rounds atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				held, err := lock("test-"+t.Name(), "it")
				if errors.Is(err, ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				rounds.Add(1)
				inside.Add(-1)
				held.Unlock()
			}
		})
	}
	all.Wait()
	if rounds.Load() == 0 {
		t.Error("nobody got it")
	}
}

func TestOwnDir(t *testing.T) {
	dir := t.TempDir()
	if err := ownDir(dir + "/new"); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(dir+"/open", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/open", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/new", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"/open", "/link"} {
		if err := ownDir(dir + bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestSweep checks that locks of the dead go, and those of the living stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"dead.lock", "held.lock", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "young.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(filepath.Join(dir, "held.lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	sweep(dir)
	for name, stays := range map[string]bool{"dead.lock": false, "held.lock": true, "other": true, "young.lock": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

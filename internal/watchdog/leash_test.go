package watchdog

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes a watchdog of this program when Launch executes it.
func TestMain(m *testing.M) {
	if Is(os.Args[1:]) {
		if err := Serve(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// launched gives a Dog with a watchdog of its own, and tells what it executes at present.
func launched(t *testing.T, asleep bool) (dog *Dog, executes func() string) {
	t.Helper()
	pid := 0
	dog = &Dog{Launch: func() (*Leash, error) {
		leash, err := launch(asleep)
		if err == nil {
			pid = leash.pid
		}
		return leash, err
	}}
	if ready, err := dog.Ready(); !ready || err != nil {
		t.Fatalf("the watchdog is not ready: %v", err)
	}
	return dog, func() string {
		exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		if err != nil {
			return "nothing"
		}
		return exe
	}
}

func TestLaunch(t *testing.T) {
	self, err := os.Readlink(selfExe)
	if err != nil {
		t.Fatal(err)
	}
	for name, asleep := range map[string]bool{"asleep": asleepCode() != nil, "awake": false} {
		t.Run(name, func(t *testing.T) {
			dog, executes := launched(t, asleep)
			if exe := executes(); (exe == self) == asleep || asleep && !strings.HasPrefix(exe, "/memfd:") {
				t.Errorf("at first it executes %s", exe)
			}
			path := filepath.Join(t.TempDir(), "file")
			forget, err := dog.Guard(Undo{Write: &Write{path, "undone"}}, -1)
			if err != nil {
				t.Fatal(err)
			}
			if err := forget(); err != nil {
				t.Fatal(err)
			}
			if _, err := dog.Guard(Undo{Write: &Write{path, "undone"}}, -1); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := dog.Close(); err != nil { // as our death would
				t.Fatal(err)
			}
			await(t, "what was guarded to be undone", func() bool {
				text, err := os.ReadFile(path)
				return err == nil && string(text) == "undone"
			})
			await(t, "its end", func() bool { return executes() == "nothing" })
		})
	}
}

// TestCall wakes it by a question, and by more orders than the socket holds, with descriptors.
func TestCall(t *testing.T) {
	self, err := os.Readlink(selfExe)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, call := range map[string]func(t *testing.T, dog *Dog){
		"settle": func(t *testing.T, dog *Dog) {
			if err := dog.Settle(); err != nil {
				t.Fatal(err)
			}
		},
		"many orders": func(t *testing.T, dog *Dog) {
			for range 3000 {
				forget, err := dog.Guard(Undo{Write: &Write{"/nonexistent/file", "x"}}, int(null.Fd()))
				if err != nil {
					t.Fatal(err)
				}
				if err := forget(); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dog, executes := launched(t, asleepCode() != nil)
			call(t, dog)
			await(t, "the watchdog to be awake", func() bool { return executes() == self })
			if err := dog.Close(); err != nil {
				t.Fatal(err)
			}
			await(t, "its end", func() bool { return executes() == "nothing" })
		})
	}
}

// TestDrop ends a watchdog that sleeps and has nothing to do.
func TestDrop(t *testing.T) {
	dog, executes := launched(t, asleepCode() != nil)
	forget, err := dog.Guard(Undo{Write: &Write{"/nonexistent/file", "x"}}, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if err := dog.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "its end", func() bool { return executes() == "nothing" })
	if err := dog.leash.send([]byte("{}"), nil, 0); err == nil {
		t.Error("it still takes orders")
	}
}

// TestAsleepForever: it neither wakes nor ends by itself or by signals.
func TestAsleepForever(t *testing.T) {
	if asleepCode() == nil {
		t.Skip("no program that sleeps for this machine")
	}
	dog, executes := launched(t, true)
	await(t, "its name", func() bool { // the signals are ignored right before
		comm, err := os.ReadFile("/proc/" + strconv.Itoa(dog.leash.pid) + "/comm")
		return err == nil && string(comm) == "rethaw\n"
	})
	for range 5 {
		_ = unix.Kill(dog.leash.pid, unix.SIGSTOP)
		time.Sleep(5 * time.Millisecond)
		_ = unix.Kill(dog.leash.pid, unix.SIGCONT)
		time.Sleep(5 * time.Millisecond)
	}
	for _, signal := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM} {
		_ = unix.Kill(dog.leash.pid, signal)
		time.Sleep(5 * time.Millisecond)
	}
	if exe := executes(); !strings.HasPrefix(exe, "/memfd:") {
		t.Errorf("it executes %s", exe)
	}
	if err := dog.Close(); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

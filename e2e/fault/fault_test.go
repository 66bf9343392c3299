//go:build amd64

package fault

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// child is what the tests run: it writes a file twice and tells by its exit status how that went.
func child(path string) int {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT, 0o600)
	if err != nil {
		return 10
	}
	for range 2 {
		switch n, err := unix.Write(fd, []byte("four")); {
		case errors.Is(err, unix.ENOSPC):
			return 11
		case err != nil:
			return 12
		case n != 4:
			return 13
		}
	}
	return 14
}

func TestMain(m *testing.M) {
	if path := os.Getenv("FAULT_CHILD"); path != "" {
		os.Exit(child(path))
	}
	os.Exit(m.Run())
}

func TestStrikes(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	files := [3]*os.File{null, null, os.Stderr}
	program, err := Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file")
	program.Env = []string{"FAULT_CHILD=" + path}
	out, err := program.Record(nil, files)
	if err != nil || out.Code != 14 {
		t.Fatalf("undisturbed: exit %d, %v", out.Code, err)
	}
	var write *Step
	for _, s := range out.Steps {
		if s.Call == unix.SYS_WRITE && s.Own && strings.Contains(s.String(), "fault.child") {
			write = s
		}
	}
	if write == nil || write.Count != 2 || write.String() == "" {
		t.Fatalf("the write is not among %d steps, or not twice: %v", len(out.Steps), write)
	}
	done := false
	for _, c := range []struct {
		name   string
		strike Strike
		code   int
		holds  string
	}{
		{"the first fails", Strike{Nth: 1, Errno: unix.ENOSPC}, 11, ""},
		{"the second fails", Strike{Nth: 2, Errno: unix.EIO}, 12, "four"},
		{"short", Strike{Nth: 1, Short: true}, 13, "fo"},
		{"killed before", Strike{Nth: 2, Kill: true, Before: true}, -1, "four"},
		{"killed after", Strike{Nth: 2, Kill: true}, -1, "fourfour"},
		{"something else", Strike{Nth: 1, Do: func() { done = true }}, 14, "fourfour"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			c.strike.Key = write.Key
			out, err := program.Run(nil, files, c.strike)
			if err != nil || !out.Struck || out.Code != c.code {
				t.Errorf("exit %d, want %d, struck %v: %v", out.Code, c.code, out.Struck, err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != c.holds {
				t.Errorf("the file holds %q, want %q: %v", text, c.holds, err)
			}
		})
	}
	if !done {
		t.Error("nothing else was done")
	}
	if out, err := program.Run(nil, files, Strike{Key: write.Key + 1, Nth: 1, Kill: true}); err != nil || out.Struck || out.Code != 14 {
		t.Errorf("struck at a step that does not exist: %+v, %v", out, err)
	}
}

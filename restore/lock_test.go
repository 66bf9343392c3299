package restore

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestLockHolder(t *testing.T) {
	first := &task{rec: &specs.Task{PID: 1, FDs: 10}}
	second := &task{rec: &specs.Task{PID: 2, FDs: 20}}
	third := &task{rec: &specs.Task{PID: 3, FDs: 20}} // shares the table of the second
	dead := &task{rec: &specs.Task{PID: 4, FDs: 20, State: "zombie"}}
	r := &restorer{}
	r.files.holders = map[specs.ID][]holder{5: {{dead, 3}, {first, 3}, {second, 7}, {third, 7}}}
	for _, tt := range []struct {
		name string
		lock specs.Lock
		want *task
	}{
		{"who took it", specs.Lock{File: 5, PID: 2}, second},
		{"who took it is dead", specs.Lock{File: 5, PID: 4}, first},
		{"the owner, not the first", specs.Lock{File: 5, Table: 20, PID: 1}, second},
		{"one of two owners", specs.Lock{File: 5, Table: 20, PID: 3}, third},
		{"nobody", specs.Lock{File: 6, PID: 1}, nil},
		{"no owner", specs.Lock{File: 5, Table: 30, PID: 1}, nil},
	} {
		h := r.lockHolder(&tt.lock)
		if tt.want == nil && h != nil || tt.want != nil && (h == nil || h.t != tt.want) {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
}

func TestOtherLock(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	any := func(*procfs.Lock) bool { return true }
	if who, err := otherLock(&stat, any); who != "" || err != nil {
		t.Errorf("a free file is locked by %q, %v", who, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if who, err := otherLock(&stat, any); !strings.HasPrefix(who, fmt.Sprintf("process %d (restore.test", os.Getpid())) || err != nil {
		t.Errorf("our own lock is that of %q, %v", who, err)
	}
	if who, _ := otherLock(&stat, func(l *procfs.Lock) bool { return l.Class == "LEASE" }); who != "" {
		t.Errorf("a lock is a lease of %q", who)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if who, err := otherLock(&stat, func(l *procfs.Lock) bool { return l.Class == "OFDLCK" }); who != "somebody else" || err != nil {
		t.Errorf("an OFD lock is that of %q, %v", who, err)
	}
}

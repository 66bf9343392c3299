//go:build amd64

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/e2e/fault"
)

// failCheckpoint has every call of a checkpoint fail, in each way in which it may.
func failCheckpoint(t *testing.T) {
	newBench(t, "error: checkpoint -R, each call").failing((*fault.Step).Errors, nil)
}

// shortWrites has every write of a checkpoint write half of what it should.
func shortWrites(t *testing.T) {
	newBench(t, "short write: checkpoint -R, each write").failing((*fault.Step).Shorts, nil)
}

// vanish ends a task of the container at every step of a checkpoint.
func vanish(t *testing.T) {
	b := newBench(t, "vanished task: checkpoint -R, each call")
	known := map[int]bool{}
	for _, pid := range b.Tasks() {
		known[pid] = true
	}
	guest := func() int {
		if r := b.Runtime("exec", "--detach", b.ID, "/bin/sleep", "1000"); r.Code != 0 {
			t.Fatal(r)
		}
		for _, pid := range b.Tasks() {
			if !known[pid] {
				return pid
			}
		}
		t.Fatal("the guest is not there")
		return 0
	}
	var pid int
	kill := func() { _ = unix.Kill(pid, unix.SIGKILL) }
	b.failing(func(s *fault.Step) []fault.Strike {
		if !s.Own {
			return nil
		}
		return []fault.Strike{{Key: s.Key, Nth: 1, Do: kill}}
	}, func() func() {
		if len(b.Tasks()) != len(known) {
			known = map[int]bool{}
			for _, pid := range b.Tasks() {
				known[pid] = true
			}
		}
		pid = guest()
		return func() {
			kill()
			if !eventually(restTime, func() bool { return len(b.Tasks()) == len(known) }) {
				t.Errorf("the guest does not end")
			}
		}
	})
}

// failing strikes at checkpoints that leave the tasks running. before (may be nil) makes what a run
// needs, and gives what takes it away.
func (b *bench) failing(strikes func(*fault.Step) []fault.Strike, before func() (after func())) {
	t := b.t
	args := func() []string { return b.saving("--leave-running") }
	prepare := func() func() {
		if before == nil {
			return func() {}
		}
		return before()
	}
	after := prepare()
	steps := b.record(args, func() {})
	after()
	all := aims(t, steps, strikes)
	tried := 0
	for _, a := range all {
		if b.late(len(all) - tried) {
			break
		}
		tried++
		if err := os.RemoveAll(b.Image); err != nil {
			t.Fatal(err)
		}
		after := prepare()
		out, struck := b.try(args(), a)
		said := b.said()
		after()
		if !struck && out.Code != 0 {
			// Not ours: the load of the machine may let it fail for a reason of its own.
			t.Errorf("%v: did not come, and rethaw failed: exit %d: %s", a, out.Code, said)
			b.row.damaged++
		}
		fine := b.intact(a)
		whole := b.whole(a)
		b.noRemains(a)
		switch {
		case out.Code == 0 && !whole:
			t.Errorf("%v: rethaw succeeded without an image: %s", a, said)
			b.row.damaged++
		case out.Code != 0:
			b.sensible(a, out.Code, said)
		case struck && fine && a.Do == nil:
			// It says that all is well: that must be so.
			b.Rewind()
			b.Delete()
			b.Restore()
			fine = b.intact(a)
		}
		if !fine && b.harmed() {
			return
		}
	}
	b.enough(tried)
	b.stillGood(t)
}

// sensible checks what rethaw says of a failure.
func (b *bench) sensible(a aim, code int, said string) {
	b.t.Helper()
	_, text, found := strings.Cut(said, "rethaw: ")
	if !found || len(text) < 20 || strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") || code == 2 {
		b.t.Errorf("%v: exit %d, and it says: %s", a, code, said)
		b.row.damaged++
		return
	}
	if a.Errno != 0 && !strings.Contains(text, a.Errno.Error()) {
		b.t.Logf("%v: exit %d, another cause is told: %s", a, code, said)
	}
}

// fullDisk gives the image less room than it needs, and none.
func fullDisk(t *testing.T) {
	b := newBench(t, "full disk or read-only directory")
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	b.Checkpoint("--leave-running")
	size := b.ImageSize()
	image := b.Image
	defer func() { b.Image = image }()
	for i := range 9 {
		options := fmt.Sprintf("size=%d", max(4096, size*int64(i)/8))
		flags := uintptr(0)
		if i == 0 {
			flags, options = unix.MS_RDONLY, ""
		}
		if err := unix.Mount("disk", disk, "tmpfs", flags, options); err != nil {
			t.Fatal(err)
		}
		b.Image = filepath.Join(disk, "image")
		r := b.TryRethaw("checkpoint", "--leave-running", "--image", b.Image, b.ID)
		a := aim{step: &fault.Step{Where: []string{"a disk with " + strconv.Itoa(i) + " eighths of the room"}}}
		b.row.injected++
		if r.Code != 0 {
			b.sensible(a, r.Code, r.Stderr)
			names, _ := os.ReadDir(disk)
			if len(names) != 0 {
				t.Errorf("%v: %v is left", a, names)
				b.row.left++
			}
		} else if i < 4 {
			t.Errorf("%v: rethaw succeeded: %v", a, r)
			b.row.damaged++
		}
		if want := [...]error{unix.EROFS, unix.ENOSPC}[min(i, 1)]; r.Code != 0 && !strings.Contains(r.Stderr, want.Error()) {
			t.Errorf("%v: the cause is not told: %s", a, r.Stderr)
			b.row.damaged++
		}
		b.whole(a)
		fine := b.intact(a)
		if err := unix.Unmount(disk, 0); err != nil {
			t.Fatal(err)
		}
		if !fine && b.harmed() {
			return
		}
	}
}

// eventually polls like rig.Eventually, and leaves the judgement to the caller.
func eventually(patience time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// digest sums up the files of an image.
func digest(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %x", e.Name(), sha256.Sum256(text)))
	}
	return all
}

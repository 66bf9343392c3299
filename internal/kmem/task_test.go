package kmem

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTask(t *testing.T) {
	r := open(t)
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	task, err := r.Task(pidfd)
	if err != nil {
		t.Fatal(err)
	}
	threads, err := r.Threads(task)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, th := range threads {
		at, err := r.Follow(th, "task_struct.tgid&")
		if err != nil {
			t.Fatal(err)
		}
		if tgid, err := r.Half(at); err != nil || int(tgid) != os.Getpid() {
			t.Errorf("a thread of %d is among ours: %v", tgid, err)
		}
		seen[th] = true
	}
	if !seen[task] || !seen[r.Own()] || len(threads) < 2 {
		t.Errorf("%d threads, and not all of those that we know of", len(threads))
	}
}

func TestLandlockPlace(t *testing.T) {
	r := open(t)
	place, err := r.LandlockPlace()
	if errors.Is(err, ErrNoLandlock) {
		t.Skip(err)
	}
	if err != nil || place%8 != 0 || place >= blobSize {
		t.Fatalf("%d: %v", place, err)
	}
	// A second look finds the same, and we are not restricted.
	if again, err := r.LandlockPlace(); err != nil || again != place {
		t.Errorf("%d and then %d: %v", place, again, err)
	}
	if blob, err := r.blob(r.Own()); err != nil || blob[place] != 0 {
		t.Errorf("we are restricted ourselves: %x %v", blob, err)
	}
}

func TestDnotify(t *testing.T) {
	r := open(t)
	group, err := r.DnotifyGroup()
	if err != nil {
		t.Fatal(err)
	}
	if group == 0 {
		t.Skip("this kernel has no F_NOTIFY")
	}
	path := t.TempDir()
	var dirs [2]*os.File
	for i := range dirs {
		if dirs[i], err = os.Open(path); err != nil {
			t.Fatal(err)
		}
		defer dirs[i].Close()
	}
	if _, err := unix.FcntlInt(dirs[1].Fd(), unix.F_NOTIFY, dnRename); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		if got, err := r.Dnotifies(int(dirs[i].Fd()), group); err != nil || got != want {
			t.Errorf("description %d: %v, want %v: %v", i, got, want, err)
		}
	}
}

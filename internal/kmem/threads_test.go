package kmem

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// TestStates reads our own threads, one of which knows what to expect.
func TestStates(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Skip(err)
	}
	defer r.Close()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	const slack, death = 12345, unix.SIGUSR2
	for _, call := range [][2]uintptr{{unix.PR_SET_TIMERSLACK, slack}, {unix.PR_SET_PDEATHSIG, uintptr(death)}} {
		if _, _, errno := unix.Syscall(unix.SYS_PRCTL, call[0], call[1], 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	all, err := r.States(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	tids, err := procfs.ListTasks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 || len(all) > len(tids) || all[0].TID != os.Getpid() {
		t.Errorf("%d threads, the first is %d; /proc has %d, the first is %d", len(all), all[0].TID, len(tids), os.Getpid())
	}
	found := false
	for _, got := range all {
		if got.TID != unix.Gettid() {
			continue
		}
		found = true
		if got.TimerSlack != slack || got.PDeathSig != uint32(death) || got.AltStackSize == 0 {
			t.Errorf("got %+v", got)
		}
	}
	if !found {
		t.Errorf("thread %d is missing in %+v", unix.Gettid(), all)
	}
}

// TestWords reads a page of ours, which nobody else writes to.
func TestWords(t *testing.T) {
	r := open(t)
	mem, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	for i := range gathered {
		binary.NativeEndian.PutUint64(mem[8*i:], uint64(100+i))
	}
	page, err := r.structPage(mem)
	if err != nil {
		t.Fatal(err)
	}
	at, err := r.PageAddress(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, gathered} {
		w := make([]uint64, n)
		for i := range w {
			w[i] = at + uint64(8*(n-1-i))
		}
		if err := r.Words(w); err != nil {
			t.Fatal(err)
		}
		for i, got := range w {
			if want := uint64(100 + n - 1 - i); got != want {
				t.Errorf("word %d of %d is %d, want %d", i, n, got, want)
			}
		}
	}
	if err := r.Words([]uint64{at, 8}); err == nil {
		t.Error("an address that is not mapped was read")
	}
}

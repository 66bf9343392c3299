package checkpoint

import (
	"testing"

	"golang.org/x/sys/unix"
)

// semaphores does what perform_atomic_semop_slow of ipc/sem.c does with operations on
// one semaphore.
func semaphores(value, adjust int, ops []semop) error {
	for _, o := range ops {
		if o.op == 0 && value != 0 {
			return unix.EAGAIN
		}
		value += int(o.op)
		if value < 0 {
			return unix.EAGAIN
		}
		if value > semMax {
			return unix.ERANGE
		}
		if o.flags&semUndoFlag != 0 {
			if adjust -= int(o.op); adjust < -semMax-1 || adjust > semMax {
				return unix.ERANGE
			}
		}
	}
	return nil
}

// TestProbes: every question is answered rightly, and by a call that fails.
func TestProbes(t *testing.T) {
	values := []int{0, 1, 2, 3, 100, 16383, 16384, 32765, 32766, 32767}
	adjusts := []int{0, 1, -1, 2, -2, 7, -7, 100, -100, 16384, -16384, 32766, 32767, -32766, -32767, -32768}
	limits := []int{1, 2, 3, 6, 7, 8, 99, 100, 101, 16384, 32766, 32767}
	for _, v := range values {
		for _, a := range adjusts {
			for _, limit := range append(limits, 32768) {
				if limit < 32768 {
					ask(t, v, a, limit, a >= limit, atLeast(3, v, limit))
				}
				ask(t, v, a, -limit, a <= -limit, atMost(3, v, limit))
			}
		}
	}
}

func ask(t *testing.T, value, adjust, limit int, want bool, ops []semop) {
	t.Helper()
	answer := unix.EAGAIN
	if want {
		answer = unix.ERANGE
	}
	if err := semaphores(value, adjust, ops); err != answer {
		t.Errorf("value %d, adjustment %d, limit %d: %v, not %v (%v)", value, adjust, limit, err, answer, ops)
	}
	for _, o := range ops {
		if o.flags&ipcNoWait == 0 || o.num != 3 {
			t.Errorf("%+v may wait, or is about another semaphore", o)
		}
	}
}

func TestSharedNames(t *testing.T) {
	for name, want := range map[string]int32{"/SYSV00000015": 0x15, "/SYSVfffffff9": -7, "/SYSV00000000": 0, "/memfd:x": 0} {
		if got := nameKey(name); got != want {
			t.Errorf("nameKey(%q) = %#x", name, got)
		}
	}
	for link, want := range map[string]bool{"/memfd:a b (deleted)": true, "/memfd: (deleted)": true, "/memfd:a": false, "/tmp/memfd:a (deleted)": false} {
		if got := memfdLink(link); got != want {
			t.Errorf("memfdLink(%q) = %v", link, got)
		}
	}
}

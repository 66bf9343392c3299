package sleeping

import (
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/kmem"
)

// TestInterrupt goes the whole way with a live thread: look at it, stop it, and
// let it issue the call again for what is left.
func TestInterrupt(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(calls())) {
		undisturbed(t, name, func(t testing.TB) {
			const d, pause = 300 * time.Millisecond, 200 * time.Millisecond
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			s := startSleeper(t)
			w := NewWatch()
			s.sleep(t, name, d)
			time.Sleep(100 * time.Millisecond)
			before, err := w.Look(s.pid, s.tid)
			if err != nil {
				t.Fatal(err)
			}
			knowing := NewWatch()
			knowing.Kernel = kernelOf(t)
			light, err := knowing.Look(s.pid, s.tid)
			if err != nil {
				t.Fatal(err)
			}
			stopped := interrupt(t, s.tid)
			var regs unix.PtraceRegs
			if err := unix.PtraceGetRegs(s.tid, &regs); err != nil {
				t.Fatal(err)
			}
			call := callOf(t, s, &regs)
			if told, err := knowing.Stopped(s.pid, s.tid, &light, call, stopped); err != nil {
				t.Error(err)
			} else if off := time.Duration(stopped + told.Left - s.start - int64(d)); off.Abs() > allowed {
				t.Errorf("with the kernel's memory the rest is off by %v: %+v", off, told)
			} else if light.later && told.Precision != Exact {
				t.Errorf("what the kernel knows is told as a %s", told.Precision)
			}
			if got := -call.Ret; got != int64(before.Restart) {
				t.Errorf("result is -%d, the table says -%d", got, int64(before.Restart))
			}
			sl, err := w.Stopped(s.pid, s.tid, &before, call, stopped)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, left %v", sl.Precision, time.Duration(sl.Left))
			if off := time.Duration(stopped + sl.Left - s.start - int64(d)); off.Abs() > allowed {
				t.Errorf("the rest is off by %v", off)
			}
			late, err := w.Stopped(s.pid, s.tid, nil, call, stopped)
			if err != nil || late.Left > int64(d) || late.Left < sl.Left-int64(allowed) {
				t.Errorf("without a look: %+v, %v", late, err)
			}

			time.Sleep(pause)
			change, err := Resume(call, sl.Syscall, sl.Left)
			if err != nil {
				t.Fatal(err)
			}
			change.Apply(&regs)
			if err := unix.PtraceSetRegs(s.tid, &regs); err != nil {
				t.Fatal(err)
			}
			if len(change.Scratch) != 0 {
				if _, err := unix.PtracePokeData(s.tid, uintptr(change.ScratchAddr), change.Scratch); err != nil {
					t.Fatal(err)
				}
			}
			began, _ := now(unix.CLOCK_MONOTONIC)
			if err := unix.PtraceDetach(s.tid); err != nil {
				t.Fatal(err)
			}
			errno, end := s.wake(t)
			if errno != 0 && errno != unix.ETIMEDOUT && errno != unix.EAGAIN {
				t.Errorf("ended with %v", errno)
			}
			if off := time.Duration(end - began - sl.Left); off.Abs() > allowed {
				t.Errorf("the rest of the sleep was off by %v", off)
			}
		})
	}
}

// TestMovedOn stops a thread that is in another sleep than when it was looked
// at.
func TestMovedOn(t *testing.T) {
	undisturbed(t, "poll", movedOn)
}

func movedOn(t testing.TB) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := startSleeper(t)
	w := NewWatch()
	const d = 100 * time.Millisecond
	s.sleep(t, "poll", d)
	time.Sleep(80 * time.Millisecond)
	before, err := w.Look(s.pid, s.tid)
	if err != nil {
		t.Fatal(err)
	}
	s.wake(t)
	s.sleep(t, "poll", d)
	stopped := interrupt(t, s.tid)
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(s.tid, &regs); err != nil {
		t.Fatal(err)
	}
	got, err := w.Stopped(s.pid, s.tid, &before, callOf(t, s, &regs), stopped)
	if err != nil || got.Left != int64(d) || got.Precision != Bound {
		t.Errorf("got %+v, %v", got, err)
	}
	if w.Kernel = kernelOf(t); w.Kernel == nil {
		return
	}
	got, err = w.Stopped(s.pid, s.tid, nil, callOf(t, s, &regs), stopped)
	if off := time.Duration(stopped + got.Left - s.start - int64(d)); err != nil || got.Precision != Exact || off.Abs() > allowed {
		t.Errorf("with the kernel's memory, off by %v: %+v, %v", off, got, err)
	}
}

// kernelOf reads the kernel's memory; it is nil where it cannot be.
func kernelOf(t testing.TB) Kernel {
	r, err := kmem.Open()
	if err != nil {
		return nil
	}
	t.Cleanup(r.Close)
	return r
}

func interrupt(t testing.TB, tid int) int64 {
	t.Helper()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, 0, 0, 0); errno != 0 {
		t.Skipf("PTRACE_SEIZE: %v", errno)
	}
	at, err := now(unix.CLOCK_MONOTONIC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
		t.Fatalf("status %#x, %v", status, err)
	}
	return at
}

// callOf is CallOf with the count of switches.
func callOf(t testing.TB, s *sleeper, regs *unix.PtraceRegs) Call {
	t.Helper()
	call := CallOf(regs)
	var err error
	if call.Switches, err = (thread{s.pid, s.tid}).slept(); err != nil {
		t.Fatal(err)
	}
	return call
}

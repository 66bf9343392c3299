package sleeping

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// now returns the time of a clock in nanoseconds.
func now(clock int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("clock_gettime: %w", err)
	}
	return ts.Nano(), nil
}

// calibrate returns what CLOCK_MONOTONIC is ahead of rq_clock_task of a
// processor, in nanoseconds.
//
// The calling thread moves to the processor and blocks for a moment; when it is
// picked to run again the kernel sets its exec_start. Both that and the later
// updates by the tick come before the clock is read, so each try gives an upper
// bound, and the lowest is right to within the time it takes to read a file.
func calibrate(cpu int) (int64, error) {
	runtime.LockOSThread()
	var old, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		runtime.UnlockOSThread()
		return 0, fmt.Errorf("sched_getaffinity: %w", err)
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		runtime.UnlockOSThread()
		return 0, fmt.Errorf("move to processor %d: %w", cpu, err)
	}
	offset, err := ahead()
	if back := unix.SchedSetaffinity(0, &old); back != nil {
		// The goroutine stays locked; its thread ends with it.
		return 0, errors.Join(err, fmt.Errorf("leave processor %d: %w", cpu, back))
	}
	runtime.UnlockOSThread()
	return offset, err
}

func ahead() (int64, error) {
	var best int64
	for try := range 3 {
		moment := unix.Timespec{Nsec: 1}
		if err := unix.Nanosleep(&moment, nil); err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("nanosleep: %w", err)
		}
		b, err := procfs.ReadFile(0, "thread-self/sched")
		if err != nil {
			return 0, err
		}
		t, err := now(unix.CLOCK_MONOTONIC)
		if err != nil {
			return 0, err
		}
		s, err := procfs.ParseSched(b)
		if err != nil {
			return 0, err
		}
		if offset := t - s.ExecStart; try == 0 || offset < best {
			best = offset
		}
	}
	return best, nil
}

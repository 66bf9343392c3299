package sleeping

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// thread names a thread in /proc.
type thread struct{ pid, tid int }

func (t thread) read(file string) ([]byte, error) {
	return procfs.ReadFile(t.pid, fmt.Sprintf("task/%d/%s", t.tid, file))
}

func (t thread) stat() (procfs.Stat, error) { return procfs.ReadTaskStat(t.pid, t.tid) }

// sched also says whether the kernel shows that file at all (CONFIG_SCHED_DEBUG
// before Linux 6.15).
func (t thread) sched() (s procfs.Sched, known bool, err error) {
	s, err = procfs.ReadSched(t.pid, t.tid)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = t.stat()
		return procfs.Sched{}, false, err
	}
	return s, true, err
}

// slept counts how often the thread has gone to sleep.
func (t thread) slept() (uint64, error) {
	s, err := procfs.ReadTaskStatus(t.pid, t.tid)
	return s.VoluntaryCtxtSwitches, err
}

// restarted tells which call a thread in restart_syscall goes on with.
func (t thread) restarted(args [6]uint64) (int, error) {
	stack, err := t.read("stack")
	if err != nil {
		return 0, fmt.Errorf("find out what restart_syscall goes on with: %w", err)
	}
	stat, err := t.stat()
	if err != nil {
		return 0, err
	}
	switch stat.State {
	case 'S':
		if nr, ok := restarted(stack, args); ok {
			return nr, nil
		}
	case 'T', 't':
		return 0, ErrHidden
	}
	return 0, errMoved // not asleep yet, or on its way out
}

// timeout reads the timeout of a call in nanoseconds, -1 for none.
func (t thread) timeout(sh shape, args [6]uint64) (int64, error) {
	v := args[sh.arg]
	if sh.form == millis {
		if int32(v) < 0 {
			return -1, nil
		}
		return int64(int32(v)) * 1e6, nil
	}
	if v == 0 {
		return -1, nil
	}
	return t.duration(v, sh.form)
}

// duration reads a timespec or timeval from the thread's memory.
func (t thread) duration(addr uint64, f form) (int64, error) {
	var b [16]byte
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	n, err := unix.ProcessVMReadv(t.tid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	if err != nil {
		return 0, fmt.Errorf("read the timeout at %#x: %w", addr, err)
	}
	sec := int64(binary.NativeEndian.Uint64(b[:8]))
	part := int64(binary.NativeEndian.Uint64(b[8:]))
	return nanoseconds(sec, part, f)
}

// nanoseconds joins the members of a timespec or timeval, at most the highest
// number, which is how the kernel limits it as well.
func nanoseconds(sec, part int64, f form) (int64, error) {
	unit := int64(1)
	if f == timeval {
		unit = 1000
	}
	if sec < 0 || part < 0 || part > math.MaxInt64/unit {
		return 0, fmt.Errorf("timeout of %d s and %d is not valid: %w", sec, part, unix.EINVAL)
	}
	if sec > math.MaxInt64/int64(1e9) {
		return math.MaxInt64, nil
	}
	return add(sec*1e9, part*unit), nil
}

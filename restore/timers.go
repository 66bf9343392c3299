package restore

import (
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// makeTimers makes the POSIX timers. They stand still.
func (r *restorer) makeTimers(t *task) error {
	next := int32(0)
	// The kernel lists the newest first, and so does the image.
	for _, v := range slices.Backward(t.rec.Timers) {
		var err error
		if next, err = r.makeTimer(t, v, next); err != nil {
			return fmt.Errorf("timer %d: %w", v.ID, err)
		}
	}
	return nil
}

// armTimers starts all timers, last of all: they run even for a task that stands still, and
// the signals of those that are due must not be among the ones that are drained.
func (r *restorer) armTimers() error {
	for _, t := range r.living() {
		if err := r.armTask(t); err != nil {
			return taskError("arm timers", t, err)
		}
	}
	return r.armTimerfds()
}

// armTask starts the interval and POSIX timers of a task.
func (r *restorer) armTask(t *task) error {
	const size = 32
	data, at := t.arena.Data()
	var b batch
	off := uint64(0)
	room := func() ([]byte, uint64) {
		off += size
		return data[off-size : off], at + off - size
	}
	for _, v := range t.rec.Intervals {
		value, addr := room()
		putTime(value, v.Interval, 1000)
		// A value of 0 would disarm: the timer is due.
		putTime(value[16:], max(v.Value, 1000), 1000)
		b.add("set interval timer", unix.SYS_SETITIMER, uint64(v.Which), addr, 0)
	}
	for _, v := range t.rec.Timers {
		if v.Left == 0 && v.Interval == 0 {
			continue
		}
		if int(off)+size > len(data) {
			if err := b.run(t, t.threads[0]); err != nil {
				return err
			}
			b, off = batch{}, 0
		}
		value, addr := room()
		putTime(value, v.Interval, 1)
		putTime(value[16:], max(v.Left, 1), 1)
		b.add(fmt.Sprintf("set timer %d", v.ID), unix.SYS_TIMER_SETTIME, uint64(v.ID), 0, addr, 0)
	}
	return b.run(t, t.threads[0])
}

// putTime writes a struct timeval (unit 1000) or timespec (unit 1).
func putTime(b []byte, ns, unit int64) {
	putWord(b, uint64(ns/1e9))
	putWord(b[8:], uint64(ns%1e9/unit))
}

// prTimerCreateRestoreIDs lets timer_create choose its number (since Linux
// 6.16, prctl(2)).
const prTimerCreateRestoreIDs = 77

// makeTimer makes one POSIX timer with its number, and returns the number that the
// kernel would give next.
func (r *restorer) makeTimer(t *task, v specs.Timer, next int32) (int32, error) {
	data, at := t.arena.Data()
	const idOff = 64
	clear(data[:256])
	putWord(data, v.Value)
	putWord32(data[8:], uint32(v.Signal))
	putWord32(data[12:], uint32(v.Notify))
	putWord32(data[16:], uint32(v.TID))
	create := inject.Call{Nr: unix.SYS_TIMER_CREATE, Args: [6]uint64{uint64(int64(v.Clock)), at, at + idOff}}
	putWord32(data[idOff:], uint32(v.ID))
	calls := []inject.Call{
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{prTimerCreateRestoreIDs, 1}},
		create,
		{Nr: unix.SYS_PRCTL, Args: [6]uint64{prTimerCreateRestoreIDs, 0}},
	}
	if err := r.run(t, calls, nil); err != nil {
		return 0, err
	}
	if calls[0].Ret < 0 {
		if err := r.countUp(t, create, calls[1].Ret, v.ID, data[idOff:]); err != nil {
			return 0, err
		}
	} else if calls[1].Ret < 0 {
		return 0, timerError(unix.Errno(-calls[1].Ret))
	}
	return v.ID + 1, nil
}

// countUp makes and deletes timers until the kernel, which counts, has come to
// the wanted number.
func (r *restorer) countUp(t *task, create inject.Call, ret int64, want int32, id []byte) error {
	for range 1 << 20 {
		if ret < 0 {
			return timerError(unix.Errno(-ret))
		}
		got := int32(word32(id))
		if got == want {
			return nil
		}
		if got > want {
			return fmt.Errorf("%w: the kernel gives number %d already", ErrUnfit, got)
		}
		if _, err := r.call(t, unix.SYS_TIMER_DELETE, uint64(got)); err != nil {
			return err
		}
		var err error
		if ret, err = r.call(t, create.Nr, create.Args[:]...); err != nil {
			return err
		}
	}
	return unix.ERANGE
}

// timerError says what EAGAIN of timer_create(2) means: the kernel counts the queued signals and
// the timers of all processes of a user together.
func timerError(errno unix.Errno) error {
	if errno == unix.EAGAIN {
		return fmt.Errorf("%w: the user's processes have as many queued signals and timers as they may (RLIMIT_SIGPENDING, SigQ in /proc/self/status); try again, or raise the limit (ulimit -i)", errno)
	}
	return errno
}

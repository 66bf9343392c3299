package restore

import (
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// timers makes the interval and POSIX timers. They run from the release of the
// tree: until then everything is stopped, and so is what they count for the
// tasks; the time that the rest of the restore takes is lost to CLOCK_REALTIME ones.
func (r *restorer) timers(t *task) error {
	data, at := t.arena.Data()
	var b batch
	for i, v := range t.rec.Intervals {
		off := i * 32
		putTime(data[off:], v.Interval, 1000)
		// A value of 0 would disarm: the timer is due.
		putTime(data[off+16:], max(v.Value, 1000), 1000)
		b.add("set interval timer", unix.SYS_SETITIMER, uint64(v.Which), at+uint64(off), 0)
	}
	if err := b.run(t, t.threads[0]); err != nil {
		return err
	}
	next := int32(0)
	// The kernel lists the newest first, and so does the image.
	for _, v := range slices.Backward(t.rec.Timers) {
		var err error
		if next, err = r.timer(t, v, next); err != nil {
			return fmt.Errorf("timer %d: %w", v.ID, err)
		}
	}
	return nil
}

// putTime writes a struct timeval (unit 1000) or timespec (unit 1).
func putTime(b []byte, ns, unit int64) {
	putWord(b, uint64(ns/1e9))
	putWord(b[8:], uint64(ns%1e9/unit))
}

// prTimerCreateRestoreIDs lets timer_create choose its number (since Linux
// 6.16, prctl(2)).
const prTimerCreateRestoreIDs = 77

// timer makes one POSIX timer with its number, and returns the number that the
// kernel would give next.
func (r *restorer) timer(t *task, v specs.Timer, next int32) (int32, error) {
	data, at := t.arena.Data()
	const idOff, specOff = 64, 128
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
		return 0, unix.Errno(-calls[1].Ret)
	}
	if v.Left == 0 && v.Interval == 0 {
		return v.ID + 1, nil
	}
	putTime(data[specOff:], v.Interval, 1)
	putTime(data[specOff+16:], max(v.Left, 1), 1)
	if _, err := r.call(t, unix.SYS_TIMER_SETTIME, uint64(v.ID), 0, at+specOff, 0); err != nil {
		return 0, err
	}
	return v.ID + 1, nil
}

// countUp makes and deletes timers until the kernel, which counts, has come to
// the wanted number.
func (r *restorer) countUp(t *task, create inject.Call, ret int64, want int32, id []byte) error {
	for range 1 << 20 {
		if ret < 0 {
			return unix.Errno(-ret)
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

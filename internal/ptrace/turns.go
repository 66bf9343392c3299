package ptrace

import (
	"errors"
	"iter"
	"math"

	"golang.org/x/sys/unix"
)

// Turns runs jobs on the tracer's thread, limit of them at a time. A job that has to wait for a thread of its own
// (it has called TakeTurns for it) lets the others go on meanwhile: what takes long is not what a tracer
// does, but that it and the thread wake each other up. Jobs must not touch the same threads. After an error
// no more are begun; those that have begun come to their end.
func Turns(limit int, jobs []func(idle Idle) error) error {
	var errs []error
	var active []func() (int, bool)
	for len(jobs) > 0 || len(active) > 0 {
		for len(active) < limit && len(jobs) > 0 && len(errs) == 0 {
			active, jobs = append(active, turn(jobs[0], &errs)), jobs[1:]
		}
		if len(active) == 0 {
			break
		}
		least := math.MaxInt
		waiting := active[:0]
		for _, next := range active {
			n, more := next()
			if !more {
				least = 0
				continue
			}
			least = min(least, n)
			waiting = append(waiting, next)
		}
		active = waiting
		nap(least)
	}
	return errors.Join(errs...)
}

// Idle is called by who waits, with how often it has looked in vain since it began to.
type Idle func(n int)

// turn begins a job, which stands still before its first step, and at each call of Idle. That is a coroutine
// on the tracer's own thread, as ptrace(2) wants it: iter.Pull switches to it there when the caller is
// locked to its thread.
func turn(job func(idle Idle) error, errs *[]error) func() (int, bool) {
	next, _ := iter.Pull(func(yield func(int) bool) {
		if err := job(func(n int) { yield(n) }); err != nil {
			*errs = append(*errs, err)
		}
	})
	return next
}

// TakeTurns has Wait call idle where it would spin or sleep; nil ends that.
func (t *Thread) TakeTurns(idle Idle) { t.idle = idle }

// Pause lets time pass for who has looked for the thread n times in vain.
func (t *Thread) Pause(n int) {
	if t.idle != nil {
		t.idle(n)
		return
	}
	nap(n)
}

// nap does nothing for the first looks, then sleeps shortly for 2 ms, then longer.
func nap(n int) {
	if n < spins {
		return
	}
	pause := unix.Timespec{Nsec: int64(min(max(n-spins-60, 1), 50)) * 20_000}
	_ = unix.Nanosleep(&pause, nil)
}

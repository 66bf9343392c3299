package ptrace

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Bury waits until the threads, which were killed, have ended, and reaps each as
// it ends: some end only when others are reaped (the last thread of a pid
// namespace's init waits for all tasks of the namespace, and a leader is
// reported after its threads). Stops on the way are passed by, and threads that
// are gone already.
func Bury(threads []*Thread, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	left := slices.Clone(threads)
	for {
		var failed error
		left = slices.DeleteFunc(left, func(t *Thread) bool {
			ended, err := t.reapIfEnded()
			failed = errors.Join(failed, err)
			return ended
		})
		if failed != nil || len(left) == 0 {
			return failed
		}
		if time.Now().After(deadline) {
			return left[0].error("bury", ErrTimeout)
		}
		pause := unix.Timespec{Nsec: 30_000}
		_ = unix.Nanosleep(&pause, nil)
	}
}

// reapIfEnded reaps the thread if it has ended, and tells whether it is gone.
func (t *Thread) reapIfEnded() (bool, error) {
	stop, stopped, err := t.Poll()
	switch {
	case errors.Is(err, ErrGone):
		return true, nil
	case err != nil:
		return false, err
	case stopped && stop.Kind >= Exited:
		return true, t.Reap()
	}
	return false, nil
}

package restore

import (
	"errors"
	"slices"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

func isGone(err error) bool {
	return errors.Is(err, ptrace.ErrGone) || errors.Is(err, unix.ESRCH)
}

// release gives every thread its registers and lets all go. Up to the first
// detach a failure kills everything; from then on nothing can fail that
// would leave a half tree.
func (r *restorer) release() error {
	tasks := r.living()
	for _, t := range tasks {
		// Threads that share the memory must not be in the arena.
		if err := t.arena.Rest(); err != nil {
			return taskError("halt", t, err)
		}
	}
	for _, t := range tasks {
		if err := r.unmapArena(t); err != nil {
			return taskError("unmap arena", t, err)
		}
	}
	for _, t := range tasks {
		for _, th := range t.threads {
			if err := r.finish(t, th); err != nil {
				return taskError("restore registers", t, err)
			}
		}
	}
	for _, t := range tasks {
		if err := r.bridgeSpace(t); err != nil {
			return taskError("bridge the vdso of", t, err)
		}
	}
	if err := r.inet.release(r); err != nil {
		return err
	}
	var errs []error
	// The root comes last: up to then our death is its own, and that of all in its
	// namespace. So it is all of the tree that lives on, or nothing.
	for _, t := range slices.Backward(tasks) {
		for _, th := range t.threads {
			// Options first: the death of one that is detached a moment later
			// must not be ours any more.
			if err := th.traced.SetOptions(0); err != nil && !isGone(err) {
				errs = append(errs, err)
			}
		}
	}
	r.released = true
	for _, t := range tasks {
		for _, th := range t.threads {
			if err := th.traced.Detach(); err != nil && !isGone(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// unmapArena takes the arena out of a task's memory, through the restored vdso.
func (r *restorer) unmapArena(t *task) error {
	if t.parent != nil && t.parent.rec.Memory == t.rec.Memory && !t.parent.ghost {
		return nil
	}
	gate, err := t.gate()
	if err != nil {
		return err
	}
	a := t.arena.Range()
	call := inject.Call{Nr: unix.SYS_MUNMAP, Args: [6]uint64{a.Start, a.End - a.Start}}
	if err := inject.Single(t.leader(), gate, &call); err != nil {
		return err
	}
	if call.Ret != 0 {
		return &inject.Error{Call: "munmap", TID: t.pid, Err: unix.Errno(-call.Ret)}
	}
	// Back onto the kernel's signal path, where registers are set for good.
	_, err = t.leader().Halt()
	return err
}

// abandon ends everything that was made.
func (r *restorer) abandon() error {
	if r.released {
		return nil
	}
	if r.engineEnd != nil && len(r.made) > 0 {
		// Whatever becomes of it, the tasks must not run on.
		if err := r.engineEnd(); err != nil {
			r.log.WithError(err).Warn("the engine could not be told of the end of the container")
		}
	}
	left := map[*task]bool{}
	var errs []error
	for _, t := range r.made {
		err := unix.Kill(t.pid, unix.SIGKILL)
		if errors.Is(err, unix.EPERM) {
			// It is another user's by now, and we have no CAP_KILL: the kernel kills it at the end of
			// its tracer (PTRACE_O_EXITKILL), which is near.
			left[t], err = true, nil
		}
		if err != nil && !isGone(err) {
			errs = append(errs, err)
		}
	}
	var threads []*ptrace.Thread
	for _, t := range r.made {
		if left[t] {
			continue
		}
		for _, th := range t.threads {
			if th.traced != nil {
				threads = append(threads, th.traced)
			}
		}
	}
	return errors.Join(append(errs, ptrace.Bury(threads, 20*time.Second))...)
}

package checkpoint

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/rethaw/rethaw/internal/watchdog"
)

// A stop makes some system calls return EINTR (inject.Breaks), and only a tracer can mend
// that. Should we die between the two, the program would see it. So the threads are stopped while
// their cgroup is frozen (cgroup v2, whose freezer lets a thread go from its freeze into a stop and
// back): after our death they stay where they are until the watchdog has mended them, and thaws.
//
// It is done only with a watchdog that is up and waits, and only to a cgroup that the target has for
// itself. The freezer of version 1 holds threads in a place that ptrace does not reach.

// stopHeld stops all threads while they are frozen. That alone has made calls return, so that every
// thread is seized before any is thawed. Who was forked by one that was not frozen yet, and is nobody's child any
// more, comes to light later.
func (f *frozen) stopHeld() error {
	if err := f.hold(); err != nil || f.held == "" {
		return err
	}
	for {
		found, err := f.seizeAll()
		if err != nil {
			return err
		}
		if found == 0 {
			break
		}
	}
	if err := f.awaitAll(); err != nil {
		return err
	}
	return f.loose()
}

// giveUp lets the threads go that are stopped and has the others mended too, after a failure while
// they were held.
func (f *frozen) giveUp() error {
	if f.held == "" {
		return nil
	}
	for tid, th := range f.threads {
		_, _ = th.traced.AwaitTrap(vforkPatience, nil)
		_ = th.reissue()
		if th.traced.Detach() == nil {
			delete(f.threads, tid)
		}
	}
	m := watchdog.Mend{Dir: f.held}
	f.held = ""
	if err := m.Do(); err != nil {
		return err
	}
	return f.let()
}

// prepareHold tells the watchdog of the cgroup that is about to be frozen, if there is one that can be, while
// the tasks run still.
func (f *frozen) prepareHold(t *Target) (err error) {
	if f.holding = f.holdable(t); f.holding != "" {
		f.let, err = f.dog.Guard(watchdog.Undo{Mend: &watchdog.Mend{Dir: f.holding}}, -1)
	}
	return err
}

// hold freezes the cgroup that was prepared for it.
func (f *frozen) hold() error {
	dir := f.holding
	if dir == "" {
		return nil
	}
	f.holding = ""
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("1"), 0); err != nil {
		// Without the right to it (a cgroup filesystem that is mounted read-only)
		// things are as without such a cgroup.
		return f.let()
	}
	f.held = dir
	return nil
}

// holdable is the directory of a cgroup of version 2 in which there is nobody but tasks of the target.
func (f *frozen) holdable(t *Target) string {
	if !f.watched || t.Paused {
		return ""
	}
	for _, dir := range t.Cgroups {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.freeze")); err != nil {
			continue
		}
		members, err := watchdog.Members(dir)
		foreign := func(pid int) bool { return pid == os.Getpid() || !slices.Contains(f.candidates, pid) }
		if err == nil && len(members) > 0 && !slices.ContainsFunc(members, foreign) {
			return dir
		}
	}
	return ""
}

// loose thaws the cgroup again: who stands in a ptrace stop remains there, and is mended.
func (f *frozen) loose() error {
	if f.held == "" {
		return nil
	}
	dir := f.held
	f.held = ""
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte("0"), 0); err != nil {
		return err // the watchdog will try, at the latest when we end
	}
	return f.let()
}

package checkpoint

import (
	"runtime"
	"time"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// vforkPatience is how long a thread may take to stop before it is looked at as
// one that waits for its vfork(2) child, which cannot stop.
const vforkPatience = 20 * time.Millisecond

// letVforkEnd lets the children that a vfork(2) parent waits for run until they
// execute or end: only then can the parent stop.
func (f *frozen) letVforkEnd(parent *thread) error {
	below, err := procfs.ReadChildren(parent.tid, parent.tid)
	if err != nil {
		return nil
	}
	blocked := inClone(parent)
	for i, pid := range below {
		// A machine under load is slow to stop anybody: only a child that lives
		// in its parent's memory is waited for, or the youngest one of a parent that is
		// blocked in the call that made it (CLONE_VFORK without CLONE_VM).
		child := f.threads[pid]
		youngest := blocked && i == len(below)-1
		if child == nil || !youngest && kcmp(parent.tid, pid, kcmpVM, 0, 0) != 0 {
			continue
		}
		if child.stop == (ptrace.Stop{}) {
			if err := f.await(child, vforkPatience); err != nil {
				return err
			}
			if f.threads[pid] == nil {
				continue // it has ended, which the parent was waiting for
			}
		}
		if err := child.traced.SetOptions(seizeOptions() | unix.PTRACE_O_TRACEEXEC); err != nil {
			return err
		}
		child.stop = ptrace.Stop{}
		if err := child.traced.Cont(0); err != nil && !gone(err) {
			return err
		}
		// It stops by itself at the exec; one that exits is dropped.
		if _, err := child.traced.Wait(ptrace.Patience); err != nil && !gone(err) {
			return err
		}
		if err := child.traced.Interrupt(); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// inClone tells whether a thread is blocked in a call that makes a child: it waits for the
// child then.
func inClone(th *thread) bool {
	s, err := procfs.ReadSyscall(th.tid, th.tid)
	if err != nil || s.Running {
		return false
	}
	return s.Number == unix.SYS_CLONE || s.Number == unix.SYS_CLONE3 || runtime.GOARCH == "amd64" && s.Number == sysVfork
}

// sysVfork is SYS_vfork of amd64; other machines make it of clone(2).
const sysVfork = 58

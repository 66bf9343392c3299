package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/procfs"
)

// kcmpSighand is KCMP_SIGHAND.
const kcmpSighand = 4

// checkSharing refuses what tasks share in ways that no C library brings about:
// threads with a table of descriptors or a working directory of their own
// (unshare(2)), and processes with common signal handlers (CLONE_SIGHAND
// without CLONE_THREAD).
func (d *dump) checkSharing(p *process) []error {
	var problems []error
	tids, err := procfs.ListTasks(p.pid)
	if err != nil {
		return nil
	}
	for _, tid := range tids {
		if tid == p.pid {
			continue
		}
		for kind, what := range map[int]string{kcmpFiles: "table of descriptors", kcmpFS: "working directory"} {
			if r := kcmp(p.at, tid, kind, 0, 0); r > 0 && !exiting(p.pid, tid) && !exiting(p.pid, p.at) {
				problems = append(problems, p.unsupported(fmt.Sprintf("thread %d", tid), "has a "+what+" of its own", "let the thread end first"))
			}
		}
	}
	// Only processes with common memory can have common handlers (clone(2)).
	if o := d.sighands.add(p); o != nil {
		problems = append(problems, p.unsupported("signal handlers", fmt.Sprintf("are shared with process %d", o.nspid), "let one of the two end first"))
	}
	return problems
}

// pfExiting is PF_EXITING, the flag of a task that has begun to end (include/linux/sched.h).
const pfExiting = 0x4

// exiting tells whether a thread is ending, or has ended: it gives up its table and its
// directory then, one after the other.
func exiting(pid, tid int) bool {
	s, err := procfs.ReadTaskStat(pid, tid)
	return err != nil || s.Flags&pfExiting != 0
}

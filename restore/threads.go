package restore

import (
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// threadFlags are those with which a C library makes a thread.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM

// makeThreads makes the other threads of every task, each with its number.
func (r *restorer) makeThreads() error {
	for _, t := range r.made {
		for _, th := range t.threads {
			if th.traced != nil {
				continue
			}
			tid, err := r.clone(t, th.rec.TID, threadFlags)
			if err != nil {
				return taskError("make thread", t, err)
			}
			th.traced = ptrace.Attached(tid)
			if _, err := th.traced.AwaitTrap(ptrace.Patience, nil); err != nil {
				return taskError("make thread", t, err)
			}
		}
	}
	return nil
}

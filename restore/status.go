package restore

import "github.com/rethaw/rethaw/internal/procfs"

// status reads what a thread is at present.
func (r *restorer) status(t *task, th *thread) (procfs.Status, error) {
	return procfs.ReadTaskStatus(t.pid, th.traced.TID)
}

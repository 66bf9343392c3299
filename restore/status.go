package restore

import "github.com/rethaw/rethaw/internal/procfs"

// status is what a thread was like before its state was restored.
func (th *thread) status() (*procfs.Status, error) {
	if th.fresh == nil {
		s, err := procfs.ReadStatus(th.traced.TID)
		if err != nil {
			return nil, err
		}
		th.fresh = &s
	}
	return th.fresh, nil
}

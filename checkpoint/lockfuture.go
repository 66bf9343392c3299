package checkpoint

import (
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
)

// lockedFuture finds out whether mlockall(MCL_FUTURE) holds in a process, which
// nothing in /proc tells: the arena, which has just been mapped in it, is locked
// then, and counts as locked memory.
func (p *process) lockedFuture(place inject.Place) error {
	status, err := procfs.ReadStatus(p.at)
	if err != nil {
		return err
	}
	if status.VmLck < p.status.VmLck+inject.Size {
		return nil
	}
	p.lockFuture = true
	areas, err := procfs.ReadSmaps(p.at)
	if err != nil {
		return err
	}
	for i := range areas {
		if areas[i].Start <= place.Arena && place.Arena < areas[i].End {
			p.lockOnFault = slices.Contains(areas[i].VmFlags, "lf")
		}
	}
	return nil
}

package restore

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
)

// fitsMemory refuses an image whose memory is more than the machine has left: before a container is made, and before
// the kernel has to choose somebody to kill. It also bounds what an image can ask for that somebody has forged.
func (r *restorer) fitsMemory() error {
	free, err := procfs.ReadMeminfo()
	if err != nil {
		return err
	}
	if need, have := r.memory(), free.Available+free.SwapFree; need > have {
		return fmt.Errorf("%w: its memory is %s, and the machine has %s left; free some, or restore on another machine",
			ErrUnfit, humanize.Bytes(need), humanize.Bytes(have))
	}
	return nil
}

// memory is how many bytes of memory the restored tasks will have at least: what stands in the image, and what they
// had of zeros for which room was made.
func (r *restorer) memory() uint64 {
	var pages, full uint64
	page := uint64(r.img.Header().PageSize)
	count := func(extents []specs.Extent) (sum uint64) {
		for _, e := range extents {
			if !e.Inherit {
				sum += e.Count * page
			}
		}
		return sum
	}
	for _, m := range image.Each[*specs.Memory](r.img) {
		pages += count(m.Pages)
	}
	for _, s := range image.Each[*specs.Shared](r.img) {
		switch {
		case s.HugePage != 0: // from a pool of their own, whose end is an error
		case s.Full:
			full = min(full+s.Size, specs.MaxObject)
		default:
			pages += count(s.Pages)
		}
	}
	return pages + full
}

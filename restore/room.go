package restore

import (
	"fmt"
	"sort"

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
// had of zeros for which room was made. Huge pages are from a pool of their own, whose end is an error.
func (r *restorer) memory() uint64 {
	var need uint64
	page := uint64(r.img.Header().PageSize)
	add := func(bytes uint64) { need = min(need+bytes, specs.MaxObject) }
	for _, m := range image.Each[*specs.Memory](r.img) {
		for _, e := range m.Pages {
			if !e.Inherit && !ofHugePages(m, e.Start) {
				add(e.Count * page)
			}
		}
	}
	for _, s := range image.Each[*specs.Shared](r.img) {
		if s.HugePage != 0 {
			continue
		}
		if s.Full {
			add(s.Size)
			continue
		}
		for _, e := range s.Pages {
			add(e.Count * page)
		}
	}
	return need
}

// ofHugePages tells whether an address is in an area of huge pages.
func ofHugePages(m *specs.Memory, at uint64) bool {
	i := sort.Search(len(m.Areas), func(i int) bool { return m.Areas[i].End > at })
	return i < len(m.Areas) && m.Areas[i].HugePage != 0
}

package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// dropHuge gives back the huge pages of inherited areas that are not wholly the
// parent's: they can only be given back whole, and before the task's own
// contents are filled in.
func (b *builder) dropHuge() error {
	for i, a := range b.t.mm.Areas {
		if a.HugePage == 0 || b.inherited[i] == nil {
			continue
		}
		size := uint64(1) << a.HugePage
		for at := a.Start; at < a.End; at += size {
			if !inheritsAll(b.t.mm.Pages, at, at+size) {
				b.add(fmt.Sprintf("drop huge page %x", at), unix.SYS_MADVISE, at, size, unix.MADV_DONTNEED)
			}
		}
	}
	return nil
}

// inheritsAll tells whether every page between two addresses is the parent's.
func inheritsAll(pages []specs.Extent, start, end uint64) bool {
	for _, e := range pages {
		stop := e.Start + e.Count*pageSize
		if stop <= start || e.Start >= end {
			continue
		}
		if !e.Inherit || e.Start > start {
			return false
		}
		if start = stop; start >= end {
			return true
		}
	}
	return start >= end
}

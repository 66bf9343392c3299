package inject

import (
	"errors"
	"fmt"
)

// ErrNoVDSO means that the process has no vdso with room for the stub.
var ErrNoVDSO = errors.New("process has no vdso with free room: it cannot be looked into")

// Range is a mapped range of addresses.
type Range struct{ Start, End uint64 }

// Place is where stub and arena go.
type Place struct {
	// VDSO is the range of the process's vdso.
	VDSO Range
	// Arena is a free address for Size bytes.
	Arena uint64
}

const (
	// lowest is well above vm.mmap_min_addr; highest is the end of user
	// addresses with four-level page tables.
	lowest  = 1 << 32
	highest = 0x7fff_ffff_f000
	// margin keeps away from areas that grow (brk, stacks).
	margin = 16 << 20
)

// FreeRange finds size free bytes between mapped ranges, which are in the order
// of their addresses. It prefers high addresses.
func FreeRange(mapped []Range, size uint64) (uint64, error) {
	end := uint64(highest)
	for i := len(mapped) - 1; i >= -1; i-- {
		start := uint64(lowest)
		if i >= 0 {
			if mapped[i].Start >= highest {
				continue
			}
			start = max(start, mapped[i].End)
		}
		if end > start && end-start >= size+2*margin {
			return (end - margin - size) &^ 0xfff, nil
		}
		if i >= 0 {
			end = min(end, mapped[i].Start)
		}
	}
	return 0, fmt.Errorf("no %d free bytes between %d mappings", size, len(mapped))
}

// FreeAbove finds size free bytes above from, between mapped ranges in the
// order of their addresses: where neither the kernel nor usual programs put anything by themselves.
func FreeAbove(mapped []Range, from, size uint64) (uint64, error) {
	for _, r := range mapped {
		if r.End <= from {
			continue
		}
		if r.Start >= from+size+margin {
			break
		}
		from = (r.End + margin + 0xfff) &^ 0xfff
	}
	if from+size > highest {
		return 0, fmt.Errorf("no %d free bytes between %d mappings", size, len(mapped))
	}
	return from, nil
}

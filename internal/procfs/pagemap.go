package procfs

// PagemapEntry is one 64-bit word of /proc/PID/pagemap
// (Documentation/admin-guide/mm/pagemap.rst), which stands for one page.
type PagemapEntry struct {
	// Present tells that the page is in memory, Swap that it is swapped out
	// (or being migrated).
	Present, Swap bool
	// PFN is the page frame number of a present page; 0 to readers without
	// CAP_SYS_ADMIN.
	PFN uint64
	// SwapType and SwapOffset say where a swapped page is; 0 as PFN.
	SwapType   uint8
	SwapOffset uint64
	// FileShared is true for a page of a file or of shared memory.
	FileShared bool
	// Exclusive tells that nobody else maps the page.
	Exclusive bool
	// SoftDirty tells that it was written since clear_refs.
	SoftDirty bool
	// Guard is true for a guard region of madvise(MADV_GUARD_INSTALL) (since
	// Linux 6.14).
	Guard bool
	// UffdWP tells that it is write-protected by userfaultfd(2).
	UffdWP bool
}

// PagemapEntrySize is the size in bytes of a word of pagemap.
const PagemapEntrySize = 8

// ParsePagemapEntry takes one word of pagemap apart.
func ParsePagemapEntry(v uint64) PagemapEntry {
	bit := func(n uint) bool { return v>>n&1 != 0 }
	e := PagemapEntry{
		Present: bit(63), Swap: bit(62), FileShared: bit(61),
		Guard: bit(58), UffdWP: bit(57), Exclusive: bit(56), SoftDirty: bit(55),
	}
	const frame = 1<<55 - 1
	switch {
	case e.Present:
		e.PFN = v & frame
	case e.Swap:
		e.SwapType, e.SwapOffset = uint8(v&0x1f), (v&frame)>>5
	}
	return e
}

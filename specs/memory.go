package specs

import (
	"fmt"
	"slices"
	"sort"
)

// Memory is an address space (struct mm_struct): its areas and the places that
// prctl(PR_SET_MM_MAP) sets.
type Memory struct {
	StartCode  uint64 `cbor:"1,keyasint,omitempty"`
	EndCode    uint64 `cbor:"2,keyasint,omitempty"`
	StartData  uint64 `cbor:"3,keyasint,omitempty"`
	EndData    uint64 `cbor:"4,keyasint,omitempty"`
	StartBrk   uint64 `cbor:"5,keyasint,omitempty"`
	Brk        uint64 `cbor:"6,keyasint,omitempty"`
	StartStack uint64 `cbor:"7,keyasint,omitempty"`
	ArgStart   uint64 `cbor:"8,keyasint,omitempty"`
	ArgEnd     uint64 `cbor:"9,keyasint,omitempty"`
	EnvStart   uint64 `cbor:"10,keyasint,omitempty"`
	EnvEnd     uint64 `cbor:"11,keyasint,omitempty"`
	// Auxv is /proc/PID/auxv.
	Auxv []byte `cbor:"12,keyasint,omitempty"`
	// Areas are in the order of their addresses.
	Areas []Area `cbor:"13,keyasint,omitempty"`
	// Pages are the contents, in the order of their addresses.
	Pages []Extent `cbor:"14,keyasint,omitempty"`
	// Parent is the address space that extents marked Inherit come from: that
	// of the parent task, whose pages are shared copy-on-write.
	Parent ID `cbor:"15,keyasint,omitempty"`
	// Guards are ranges that madvise(MADV_GUARD_INSTALL) guards.
	Guards []Guard `cbor:"16,keyasint,omitempty"`
	// LockFuture tells that mlockall(MCL_FUTURE) holds, LockOnFault that
	// MCL_ONFAULT does too.
	LockFuture  bool `cbor:"17,keyasint,omitempty"`
	LockOnFault bool `cbor:"18,keyasint,omitempty"`
}

// Guard is a range of guard pages, in addresses.
type Guard struct {
	Start uint64 `cbor:"1,keyasint,omitempty"`
	End   uint64 `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Memory) RecordType() Type { return TypeMemory }

// Area is one virtual memory area (proc_pid_smaps(5)).
type Area struct {
	Start uint64 `cbor:"1,keyasint,omitempty"`
	End   uint64 `cbor:"2,keyasint,omitempty"`
	// Prot is PROT_*, Shared tells MAP_SHARED.
	Prot   uint32 `cbor:"3,keyasint,omitempty"`
	Shared bool   `cbor:"4,keyasint,omitempty"`
	// Kind is "anon", "file", "shm" (an object of shared memory: memfd, shared
	// anonymous, SysV), "stack", "heap", "vdso", "vvar", "vsyscall".
	Kind string `cbor:"5,keyasint,omitempty"`
	// File is the ID of the Regular, Ghost, Device, Memfd or Shared that is
	// mapped, Offset the place in it in bytes.
	File   ID     `cbor:"6,keyasint,omitempty"`
	Offset uint64 `cbor:"7,keyasint,omitempty"`
	// Flags are the two-letter VmFlags of smaps that differ from what mmap
	// gives ("nh", "dc", "lo", "gd"...).
	Flags []string `cbor:"8,keyasint,omitempty"`
	// Name is that of PR_SET_VMA_ANON_NAME or of a special mapping.
	Name string `cbor:"9,keyasint,omitempty"`
	// Shmid is the SysV identifier of a shmat(2) area, if any, plus one.
	Shmid int32 `cbor:"10,keyasint,omitempty"`
	// PKey is the protection key.
	PKey int32 `cbor:"11,keyasint,omitempty"`
	// ReadOnly tells of a shared area that it can never be made writable: what
	// it maps is open for reading only (no "mw" among the VmFlags).
	ReadOnly bool `cbor:"12,keyasint,omitempty"`
	// HugePage is log2 of the page size of an anonymous area of huge pages
	// (MAP_HUGETLB), 0 for others.
	HugePage uint32 `cbor:"13,keyasint,omitempty"`
	// Policy is that of mbind(2), nil without one.
	Policy *MemoryPolicy `cbor:"14,keyasint,omitempty"`
	// Flock is LOCK_SH or LOCK_EX of flock(2) if the area keeps the description of its file, and
	// with it a lock, while no descriptor leads there any more.
	Flock uint32 `cbor:"15,keyasint,omitempty"`
}

// HeirOf tells whether the area can be what a fork has made of p, an area of the
// parent: it lies within p and maps the same. Only pages of such an area
// can be inherited.
func (a *Area) HeirOf(p *Area) bool {
	if a.HugePage != p.HugePage || a.Start < p.Start || a.End > p.End || a.Shared || p.Shared || a.Kind != p.Kind || a.File != p.File {
		return false
	}
	for _, f := range p.Flags {
		switch {
		case f == "dc", f == "wf": // MADV_DONTFORK, MADV_WIPEONFORK
			return false
		case (f == "hg" || f == "nh") && !slices.Contains(a.Flags, f): // the advice cannot be taken back
			return false
		}
	}
	return a.File == 0 || a.Offset-p.Offset == a.Start-p.Start
}

// Extent is a run of pages with contents. All extents of an image together have no more bytes than its pages
// files: each page stands for one.
type Extent struct {
	// Start is the address (or the offset in a Shared object) in bytes, Count
	// the number of pages.
	Start uint64 `cbor:"1,keyasint,omitempty"`
	Count uint64 `cbor:"2,keyasint,omitempty"`
	// File is the number N of the pages-N.rp that has the bytes and Offset the
	// place in it, a multiple of the page size.
	File   uint32 `cbor:"3,keyasint,omitempty"`
	Offset uint64 `cbor:"4,keyasint,omitempty"`
	// Inherit tells that the pages are those of the parent's address space at
	// the same address: no bytes stand for them.
	Inherit bool `cbor:"5,keyasint,omitempty"`
	// Sum is the xxh3 of the bytes.
	Sum uint64 `cbor:"6,keyasint,omitempty"`
}

// Shared is an object of shared memory: that of shared anonymous mappings, of a
// memfd or of a System V segment. Its pages stand once however many map it.
type Shared struct {
	// Size is in bytes.
	Size  uint64   `cbor:"1,keyasint,omitempty"`
	Pages []Extent `cbor:"2,keyasint,omitempty"`
	// Name is that of a memfd, as memfd_create(2) was given it.
	Name string `cbor:"3,keyasint,omitempty"`
	// Kind is "anonymous", "memfd" or "sysv".
	Kind string `cbor:"4,keyasint,omitempty"`
	// What follows is a memfd's. Seals are F_SEAL_* (fcntl(2)).
	Seals uint32 `cbor:"5,keyasint,omitempty"`
	// Mode are the permissions.
	Mode uint32 `cbor:"6,keyasint,omitempty"`
	UID  uint32 `cbor:"7,keyasint,omitempty"`
	GID  uint32 `cbor:"8,keyasint,omitempty"`
	// Mtime and Atime are in nanoseconds.
	Mtime int64 `cbor:"9,keyasint,omitempty"`
	Atime int64 `cbor:"10,keyasint,omitempty"`
	// HugePage is log2 of the page size of MFD_HUGETLB, 0 without it.
	HugePage uint32 `cbor:"11,keyasint,omitempty"`
	// Full tells that every page was allocated, also those that read as zeros
	// and are not among Pages (fallocate(2)).
	Full bool `cbor:"12,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Shared) RecordType() Type { return TypeShared }

// Bounds of areas and shared objects. Pages are no smaller than pageAlign on any
// machine.
const (
	pageAlign   = 4096
	maxAreas    = 1 << 22 // far above vm.max_map_count
	maxAuxv     = 1024
	maxAreaName = 255
	maxPKey     = 15
	maxHuge     = 40
	// vsyscall is where that page is on amd64, above all other addresses.
	vsyscall = 0xffffffffff600000
)

// Validate implements Record.
func (m *Memory) Validate() error {
	err := first(atMost("areas", len(m.Areas), maxAreas), within("size of auxv", len(m.Auxv), 0, maxAuxv),
		each("area", m.Areas, (*Area).validate), m.validateOrder())
	if err != nil {
		return err
	}
	for _, p := range []uint64{m.StartCode, m.EndCode, m.StartData, m.EndData, m.StartBrk, m.Brk, m.StartStack, m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd} {
		if p > MaxAddress {
			return fmt.Errorf("address %#x is none of a program", p)
		}
	}
	for _, g := range m.Guards {
		if g.Start%pageAlign != 0 || g.End%pageAlign != 0 || !m.covered(g.Start, g.End) {
			return fmt.Errorf("guard %#x-%#x is not within the areas", g.Start, g.End)
		}
	}
	return nil
}

// validateOrder checks that areas rise and do not overlap.
func (m *Memory) validateOrder() error {
	end := uint64(0)
	for i := range m.Areas {
		a := &m.Areas[i]
		if a.Start < end {
			return fmt.Errorf("area %#x-%#x begins before the end of the one before it, %#x", a.Start, a.End, end)
		}
		end = a.End
	}
	return nil
}

// covered tells whether every address of a range is in an area that holds contents.
func (m *Memory) covered(start, end uint64) bool {
	i := sort.Search(len(m.Areas), func(i int) bool { return m.Areas[i].End > start })
	for ; start < end && i < len(m.Areas) && m.Areas[i].Start <= start; i++ {
		switch m.Areas[i].Kind {
		case "vdso", "vvar", "vsyscall":
			return false
		}
		start = m.Areas[i].End
	}
	return start >= end
}

// Covers tells whether pages at an address lie within the areas; size is in bytes.
func (m *Memory) Covers(start, size uint64) bool {
	return size > 0 && start+size > start && m.covered(start, start+size)
}

func (a *Area) validate() error {
	if a.Start%pageAlign != 0 || a.End%pageAlign != 0 || a.Start >= a.End || a.End > MaxAddress && (a.Kind != "vsyscall" || a.Start != vsyscall) {
		return fmt.Errorf("%#x-%#x are not the addresses of an area", a.Start, a.End)
	}
	for _, f := range a.Flags {
		if len(f) != 2 {
			return fmt.Errorf("%.20q is no flag of an area", f)
		}
	}
	err := first(subset("protection", a.Prot, 7), oneOf("kind", a.Kind, "anon", "file", "shm", "stack", "heap", "vdso", "vvar", "vsyscall"),
		text("name", a.Name, maxAreaName), within("protection key", a.PKey, 0, maxPKey), within("size of huge pages", a.HugePage, 0, maxHuge), within("lock", a.Flock, 0, 2),
		within("SysV identifier", a.Shmid, 0, 1<<31-1), atMost("flags", len(a.Flags), 64), a.Policy.validate())
	if err != nil {
		return err
	}
	backed := a.Kind == "file" || a.Kind == "shm"
	if backed != (a.File != 0) {
		return fmt.Errorf("%s area %#x-%#x maps object %d", a.Kind, a.Start, a.End, a.File)
	}
	return nil
}

// Validate implements Record.
func (s *Shared) Validate() error {
	return first(within("size", s.Size, 0, MaxObject), text("name", s.Name, 249), oneOf("kind", s.Kind, "anonymous", "memfd", "sysv"),
		subset("seals", s.Seals, 0x3f), within("mode", s.Mode, 0, 0o177777), ownable(s.UID, s.GID), within("size of huge pages", s.HugePage, 0, maxHuge))
}

package specs

import "slices"

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

// Extent is a run of pages with contents.
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

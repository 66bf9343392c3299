package procfs

import (
	"fmt"
	"strings"
)

// VMA is one area of /proc/PID/maps or /proc/PID/smaps (proc_pid_maps(5),
// proc_pid_smaps(5), fs/proc/task_mmu.c). From maps all fields up to AnonName
// are set.
type VMA struct {
	// Start is the first address, End the first one behind the area.
	Start, End uint64
	Perms
	// Offset is the place in the file in bytes.
	Offset uint64
	// Major and Minor are the device of the file's filesystem, Inode its
	// number there; all 0 for an area without a file. The device may differ
	// from that of stat(2) (btrfs, overlay).
	Major, Minor uint32
	Inode        uint64
	// Path is that of the file as the reader's root sees it, or the name of a
	// special area in brackets ("[heap]", "[vdso]", "[anon:x]"), or "".
	// A file's name comes without the " (deleted)" that Deleted stands for.
	Path string
	// Deleted tells that the kernel's text ended in " (deleted)": the file has
	// no name any more, or, which looks the same, has a name that ends so.
	// st_nlink of /proc/PID/map_files/START-END decides.
	Deleted bool
	// Escaped tells that the text has a \012, which was taken for a line feed.
	// A name with that backslash and those digits looks the same; readlink of
	// /proc/PID/map_files/START-END has it as it is.
	Escaped bool
	// AnonName is NAME of "[anon:NAME]" and "[anon_shmem:NAME]" (PR_SET_VMA_ANON_NAME).
	AnonName string

	// KernelPageSize is in bytes: the size of a huge page for hugetlbfs.
	KernelPageSize uint64
	// Sizes of what is there, in bytes. Pss, and Locked in an area with the flag
	// "lo", count a page that N share as an Nth: to ask whether an area is
	// locked look for the flag.
	Rss, Pss, Anonymous, AnonHugePages, Swap, Locked uint64
	SharedHugetlb, PrivateHugetlb                    uint64
	// ProtectionKey is that of pkey_mprotect(2), 0 for the default.
	ProtectionKey int
	// VmFlags are the two-letter flags ("rd", "mr", "lo"...). Areas with the
	// same flags share the slice: do not change it.
	VmFlags []string
}

// Perms are the permissions of an area.
type Perms struct {
	Read, Write, Exec bool
	// Shared is true for MAP_SHARED ("s"), false for private ("p").
	Shared bool
}

// String gives the permissions as maps writes them, "rw-p".
func (p Perms) String() string {
	b := []byte("---p")
	for i, on := range [...]bool{p.Read, p.Write, p.Exec, p.Shared} {
		if on {
			b[i] = "rwxs"[i]
		}
	}
	return string(b)
}

// Size is the length of the area in bytes.
func (v *VMA) Size() uint64 { return v.End - v.Start }

// Special tells whether the area is one that the kernel names in brackets, and
// so has no file with a path.
func (v *VMA) Special() bool { return strings.HasPrefix(v.Path, "[") }

// Has tells whether flag is among the VmFlags.
func (v *VMA) Has(flag string) bool {
	for _, f := range v.VmFlags {
		if f == flag {
			return true
		}
	}
	return false
}

// String gives the area much as a line of maps does.
func (v VMA) String() string {
	s := fmt.Sprintf("%x-%x %s %08x %02x:%02x %d", v.Start, v.End, v.Perms, v.Offset, v.Major, v.Minor, v.Inode)
	if v.Path != "" {
		s += " " + v.Path
	}
	if v.Deleted {
		s += " (deleted)"
	}
	return s
}

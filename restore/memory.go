package restore

import (
	"fmt"
	"os"
	"slices"
	"sort"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreSpace gives a task its address space. What is there of it by
// inheritance stays; everything else goes, and the rest is mapped and filled.
func (r *restorer) restoreSpace(t *task) error {
	if t.mm == nil {
		return nil
	}
	if t.parent != nil && t.rec.Memory == t.parent.rec.Memory {
		return nil // a vfork(2) child, which lives in its parent's
	}
	b := &builder{r: r, t: t}
	if err := b.files(); err != nil {
		return err
	}
	steps := []func() error{b.parkKernel, b.wipe, b.placeKernel, b.oldKernel, b.mapAreas, b.policies, b.dropHuge, b.fill, b.dropStale, b.protect, b.advise, b.fields, b.closeFiles, b.flush}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	t.layout.areas = nil // from now on it is what the record says
	t.layout.areas = append(b.areasOf(), b.housed...)
	return nil
}

// builder builds one address space.
type builder struct {
	r *restorer
	t *task
	// inherited are the areas that came by the fork and fit, each with that of the parent: they are not mapped
	// again.
	inherited map[int]*specs.Area
	// numbers are the descriptors in the task of the files that are mapped.
	numbers map[backing]int
	// own are the pages to be read, pages the descriptors in the task of their
	// files.
	own   []specs.Extent
	pages map[uint32]int
	// kernel are the kernel's own areas while they are parked, housed where they stay beside those of another kernel.
	kernel []parked
	housed []procfs.VMA
	calls  []inject.Call
	what   []string
}

// add puts a call into the next batch; what names it in an error. What a
// call needs of the arena's data must be there until the batch has run.
func (b *builder) add(what string, nr uint64, args ...uint64) {
	c := inject.Call{Nr: nr}
	copy(c.Args[:], args)
	b.calls, b.what = append(b.calls, c), append(b.what, what)
}

// flush makes the calls, and fails at the first error.
func (b *builder) flush() error {
	calls, what := b.calls, b.what
	b.calls, b.what = nil, nil
	if len(calls) == 0 {
		return nil
	}
	if err := b.r.run(b.t, calls, nil); err != nil {
		return err
	}
	for i, c := range calls {
		if c.Failed() && c.Nr == unix.SYS_FLOCK && unix.Errno(-c.Ret) == unix.EWOULDBLOCK {
			return fmt.Errorf("%s: %w; %s", what[i], ErrLocked, endOthers)
		}
		if c.Failed() {
			return fmt.Errorf("%s: %w", what[i], unix.Errno(-c.Ret))
		}
		if c.Nr == unix.SYS_PREAD64 && c.Ret != int64(c.Args[2]) {
			return fmt.Errorf("%s: got %d bytes of %d", what[i], c.Ret, c.Args[2])
		}
	}
	return nil
}

// files brings the files that are mapped, and those with pages, into the task.
func (b *builder) files() error {
	b.inheritable()
	var keys []backing
	var files []*os.File
	seen := map[backing]bool{}
	for i, a := range b.t.mm.Areas {
		key := backing{a.File, a.ReadOnly}
		if a.File == 0 || seen[key] || b.inherited[i] != nil || a.Shmid != 0 {
			continue
		}
		seen[key] = true
		f, err := b.r.backing(key)
		if err != nil {
			return fmt.Errorf("mapping %x-%x: %w", a.Start, a.End, err)
		}
		keys, files = append(keys, key), append(files, f)
	}
	pages, numbers, err := b.pagesFiles()
	if err != nil {
		return err
	}
	fds, err := b.r.send(b.t, append(files, pages...))
	if err != nil {
		return err
	}
	b.numbers, b.pages = map[backing]int{}, map[uint32]int{}
	for i, key := range keys {
		b.numbers[key] = fds[i]
	}
	for i, n := range numbers {
		b.pages[n] = fds[len(keys)+i]
	}
	return nil
}

func (b *builder) closeFiles() error {
	for _, n := range b.numbers {
		b.add("close", unix.SYS_CLOSE, uint64(n))
	}
	for _, n := range b.pages {
		b.add("close", unix.SYS_CLOSE, uint64(n))
	}
	return nil
}

func kernelArea(kind string) bool { return kind == "vdso" || kind == "vvar" || kind == "vsyscall" }

// wipe unmaps everything but the arena, what is parked, and what is inherited.
func (b *builder) wipe() error {
	keep := []inject.Range{b.t.arena.Range(), {Start: b.r.place.park, End: b.r.place.park + parkSize}}
	if b.housed != nil {
		keep = append(keep, inject.Range{Start: b.r.place.house, End: b.r.place.house + parkSize})
	}
	for i, a := range b.t.mm.Areas {
		if b.inherited[i] != nil {
			keep = append(keep, inject.Range{Start: a.Start, End: a.End})
		}
	}
	sortRanges(keep)
	const end = 0x7ffffffff000
	at := uint64(0)
	for _, k := range keep {
		if k.Start > at {
			b.add("unmap", unix.SYS_MUNMAP, at, k.Start-at)
		}
		at = max(at, k.End)
	}
	if at < end {
		b.add("unmap", unix.SYS_MUNMAP, at, end-at)
	}
	return nil
}

// mapAreas maps what is not inherited, writable so that it can be filled.
func (b *builder) mapAreas() error {
	for i, a := range b.t.mm.Areas {
		if b.inherited[i] != nil || kernelArea(a.Kind) {
			continue
		}
		what := fmt.Sprintf("map %s %x-%x", a.Kind, a.Start, a.End)
		if a.Shmid != 0 {
			continue
		}
		flags, fd := uint64(unix.MAP_FIXED_NOREPLACE|unix.MAP_PRIVATE), ^uint64(0)
		if a.Shared {
			flags = unix.MAP_FIXED_NOREPLACE | unix.MAP_SHARED
		}
		if slices.Contains(a.Flags, "dp") {
			flags = unix.MAP_FIXED_NOREPLACE | mapDroppable
		}
		if a.File != 0 {
			fd = uint64(b.numbers[backing{a.File, a.ReadOnly}])
		} else {
			flags |= unix.MAP_ANONYMOUS
		}
		if a.HugePage != 0 {
			flags |= unix.MAP_HUGETLB | uint64(a.HugePage)<<unix.MAP_HUGE_SHIFT
		}
		for _, f := range a.Flags {
			flags |= mapFlags[f]
		}
		b.add(what, unix.SYS_MMAP, a.Start, a.End-a.Start, uint64(b.initialProt(a)), flags, fd, a.Offset)
		if a.Flock != 0 {
			b.add(fmt.Sprintf("lock the file of %x-%x", a.Start, a.End), unix.SYS_FLOCK, fd, uint64(a.Flock)|unix.LOCK_NB)
		}
	}
	return b.attachAll()
}

// mapDroppable is the mapping type MAP_DROPPABLE (since Linux 6.11), which brings
// "nr", "wf" and "dd" with it; the C library keeps the state of getrandom in such memory.
const mapDroppable = 0x08

// mapFlags are the flags of mmap(2) that leave a VmFlag.
var mapFlags = map[string]uint64{
	"gd": unix.MAP_GROWSDOWN, "nr": unix.MAP_NORESERVE, "sf": unix.MAP_SYNC | unix.MAP_SHARED_VALIDATE,
}

// initialProt is the protection while an area is filled. A private area that
// was writable once is mapped so, even if it is not in the end: the kernel
// counts it as memory that may be used ("ac", VM_ACCOUNT).
func (b *builder) initialProt(a specs.Area) uint32 {
	if a.Shared {
		return a.Prot
	}
	if !slices.Contains(a.Flags, "ac") && !b.hasOwnPages(a) {
		return a.Prot
	}
	return a.Prot | unix.PROT_READ | unix.PROT_WRITE
}

// hasOwnPages tells whether any page of the area stands in the image.
func (b *builder) hasOwnPages(a specs.Area) bool {
	pages := b.t.mm.Pages
	i := sort.Search(len(pages), func(i int) bool { return pages[i].Start+pages[i].Count*pageSize > a.Start })
	return i < len(pages) && pages[i].Start < a.End
}

// protect gives every area its protection.
func (b *builder) protect() error {
	for i, a := range b.t.mm.Areas {
		if kernelArea(a.Kind) {
			continue
		}
		if b.inherited[i] != nil || a.Shmid != 0 || b.initialProt(a) != a.Prot {
			b.add(fmt.Sprintf("protect %x-%x", a.Start, a.End), unix.SYS_MPROTECT, a.Start, a.End-a.Start, uint64(a.Prot))
		}
		if a.PKey > 0 {
			b.add(fmt.Sprintf("protect %x-%x by a key", a.Start, a.End), unix.SYS_PKEY_MPROTECT, a.Start, a.End-a.Start, uint64(a.Prot), uint64(a.PKey))
		}
	}
	return nil
}

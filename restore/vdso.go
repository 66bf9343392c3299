package restore

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// parked is one of the kernel's own areas on its way: from, to, and where it
// waits in between.
type parked struct {
	name             string
	from, park, size uint64
	to               uint64
}

// parkKernel moves vvar and vdso out of the way, each by itself: where they shall
// go something else may be mapped still. Under another kernel than that of the image they stay there, together.
func (b *builder) parkKernel() error {
	wanted := map[string]specs.Area{}
	for _, a := range b.t.mm.Areas {
		if a.Kind == "vdso" || a.Kind == "vvar" {
			wanted[a.Name] = a
		}
	}
	if b.r.bridge != nil && len(wanted) > 0 {
		return b.houseKernel()
	}
	at := b.r.place.park
	for _, v := range b.t.layout.areas {
		if !kernelNames[v.Path] {
			continue
		}
		a, ok := wanted[v.Path]
		if !ok {
			continue // the program had unmapped it: it goes with the rest
		}
		if a.End-a.Start != v.Size() {
			return fmt.Errorf("%w: %s has %d bytes here and %d in the image; restore under the kernel that made it", ErrUnfit, v.Path, v.Size(), a.End-a.Start)
		}
		delete(wanted, v.Path)
		b.kernel = append(b.kernel, parked{name: v.Path, from: v.Start, park: at, size: v.Size(), to: a.Start})
		at += (v.Size() + 0xffff) &^ 0xffff
	}
	for name := range wanted {
		return fmt.Errorf("%w: this kernel has no %s; restore under the kernel that made it", ErrUnfit, name)
	}
	for _, k := range b.kernel {
		b.add("move "+k.name, unix.SYS_MREMAP, k.from, k.size, k.size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, k.park)
	}
	return nil
}

// placeKernel moves them to where they were in the image.
func (b *builder) placeKernel() error {
	for _, k := range b.kernel {
		b.add("place "+k.name, unix.SYS_MREMAP, k.park, k.size, k.size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, k.to)
	}
	return nil
}

// kernelNames are the areas that the kernel maps by itself into every program
// and that can be moved.
var kernelNames = map[string]bool{"[vdso]": true, "[vvar]": true, "[vvar_vclock]": true}

// kernelAreas are those of them that a task has, in the order of their addresses.
func (l *layout) kernelAreas() []procfs.VMA {
	list := slices.DeleteFunc(slices.Clone(l.areas), func(v procfs.VMA) bool { return !kernelNames[v.Path] })
	slices.SortFunc(list, func(a, b procfs.VMA) int { return cmp.Compare(a.Start, b.Start) })
	return list
}

// houseKernel moves them to the place where they stay beside the old vdso: together, since the code has the distances to
// its data in it.
func (b *builder) houseKernel() error {
	list := b.t.layout.kernelAreas()
	house := inject.Range{Start: b.r.place.house, End: b.r.place.house + parkSize}
	if len(list) == 0 {
		return errNoVDSO
	}
	first := list[0].Start
	for i, v := range list {
		to := house.Start + v.Start - first
		if to+v.Size() > house.End {
			return fmt.Errorf("%w: %s is far from the others of its kind", ErrUnfit, v.Path)
		}
		if v.Start != to { // a fork has them there already
			b.add("move "+v.Path, unix.SYS_MREMAP, v.Start, v.Size(), v.Size(), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, to)
		}
		list[i].Start, list[i].End = to, to+v.Size()
	}
	b.housed = list
	return nil
}

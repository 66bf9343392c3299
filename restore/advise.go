package restore

import (
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// Advice of madvise(2) by the VmFlag that it leaves.
var adviceFlags = map[string]uint64{
	"dc": unix.MADV_DONTFORK, "dd": unix.MADV_DONTDUMP, "wf": unix.MADV_WIPEONFORK, "mg": unix.MADV_MERGEABLE,
	"hg": unix.MADV_HUGEPAGE, "nh": unix.MADV_NOHUGEPAGE, "sr": unix.MADV_SEQUENTIAL, "rr": unix.MADV_RANDOM,
}

// opposites take the advice of a VmFlag back. There is none for "hg" and "nh", which
// is why such areas are not inherited (specs.Area.HeirOf).
var opposites = map[string]uint64{
	"dc": unix.MADV_DOFORK, "dd": unix.MADV_DODUMP, "wf": unix.MADV_KEEPONFORK, "mg": unix.MADV_UNMERGEABLE,
	"sr": unix.MADV_NORMAL, "rr": unix.MADV_NORMAL,
}

// inheritedAdvice are the flags of area i that came with it from the parent and that
// it has not.
func (b *builder) inheritedAdvice(i int) []string {
	from := b.inherited[i]
	if from == nil {
		return nil
	}
	var extra []string
	for _, f := range from.Flags {
		if _, ok := opposites[f]; ok && !slices.Contains(b.t.mm.Areas[i].Flags, f) {
			extra = append(extra, f)
		}
	}
	return extra
}

// Flags of mlock2(2) and prctl(PR_SET_VMA).
const (
	mlockOnFault   = 1
	prSetVMA       = 0x53564d41
	prSetVMAName   = 0
	maxVMANameSize = 80
)

// advise gives every area its advice, locks and name.
func (b *builder) advise() error {
	data, at := b.t.arena.Data()
	// What stands in front is that of fields.
	const namesOff = 4 * pageSize
	used := namesOff
	for i, a := range b.t.mm.Areas {
		if kernelArea(a.Kind) {
			continue
		}
		for _, f := range b.inheritedAdvice(i) {
			b.add(fmt.Sprintf("take back advice for %x-%x %s", a.Start, a.End, f), unix.SYS_MADVISE, a.Start, a.End-a.Start, opposites[f])
		}
		locked, onFault := false, false
		for _, f := range a.Flags {
			if advice, ok := adviceFlags[f]; ok {
				b.add(fmt.Sprintf("advise %x-%x %s", a.Start, a.End, f), unix.SYS_MADVISE, a.Start, a.End-a.Start, advice)
			}
			locked, onFault = locked || f == "lo", onFault || f == "lf"
		}
		if locked {
			flags := uint64(0)
			if onFault {
				flags = mlockOnFault
			}
			b.add(fmt.Sprintf("lock %x-%x", a.Start, a.End), unix.SYS_MLOCK2, a.Start, a.End-a.Start, flags)
		}
		if a.Name != "" && len(a.Name) < maxVMANameSize {
			// The names are read when the batch runs.
			if used+maxVMANameSize > len(data) {
				if err := b.flush(); err != nil {
					return err
				}
				used = namesOff
			}
			copy(data[used:], a.Name+"\x00")
			b.add(fmt.Sprintf("name %x-%x", a.Start, a.End), unix.SYS_PRCTL, prSetVMA, prSetVMAName, a.Start, a.End-a.Start, at+uint64(used))
			used += maxVMANameSize
		}
	}
	for _, g := range b.t.mm.Guards {
		b.add(fmt.Sprintf("guard %x-%x", g.Start, g.End), unix.SYS_MADVISE, g.Start, g.End-g.Start, madvGuardInstall)
	}
	return nil
}

// madvGuardInstall is MADV_GUARD_INSTALL (since Linux 6.13).
const madvGuardInstall = 102

// lockFuture has what is mapped from now on be locked as it was to be.
func (r *restorer) lockFuture(t *task) error {
	if t.mm == nil || !t.mm.LockFuture {
		return nil
	}
	flags := uint64(unix.MCL_FUTURE)
	if t.mm.LockOnFault {
		flags |= unix.MCL_ONFAULT
	}
	_, err := r.call(t, unix.SYS_MLOCKALL, flags)
	return err
}

// mmMap is struct prctl_mm_map of PR_SET_MM_MAP (prctl(2)).
type mmMap struct {
	startCode, endCode, startData, endData, startBrk, brk, startStack uint64
	argStart, argEnd, envStart, envEnd, auxv                          uint64
	auxvSize, exeFD                                                   uint32
}

// fields sets the places that /proc/PID/stat, cmdline and environ show.
func (b *builder) fields() error {
	m := b.t.mm
	data, at := b.t.arena.Data()
	const auxvOff = 256
	copy(data[auxvOff:], m.Auxv)
	words := []uint64{m.StartCode, m.EndCode, m.StartData, m.EndData, m.StartBrk, m.Brk, m.StartStack,
		m.ArgStart, m.ArgEnd, m.EnvStart, m.EnvEnd, at + auxvOff}
	for i, w := range words {
		putWord(data[i*8:], w)
	}
	putWord32(data[len(words)*8:], uint32(len(m.Auxv)))
	putWord32(data[len(words)*8+4:], ^uint32(0))
	size := uint64(len(words)*8 + 8)
	b.add("set mm fields", unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, at, size)
	return nil
}

// areasOf is what is mapped once the space is as its record says.
func (b *builder) areasOf() []procfs.VMA {
	names := map[string]string{"vdso": "[vdso]", "vsyscall": "[vsyscall]", "stack": "[stack]", "heap": "[heap]"}
	var list []procfs.VMA
	for _, a := range b.t.mm.Areas {
		v := procfs.VMA{Start: a.Start, End: a.End, Path: names[a.Kind]}
		if a.Kind == "vvar" {
			v.Path = a.Name
		}
		if b.housed != nil && kernelNames[v.Path] {
			v.Path = "" // memory like any other
		}
		list = append(list, v)
	}
	return list
}

func sortRanges(ranges []inject.Range) {
	for i := range ranges {
		for j := i; j > 0 && ranges[j].Start < ranges[j-1].Start; j-- {
			ranges[j], ranges[j-1] = ranges[j-1], ranges[j]
		}
	}
}

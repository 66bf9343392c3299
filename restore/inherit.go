package restore

import (
	"reflect"
	"slices"
	"sort"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inheritable finds the areas that the task has from its parent already: those
// that pages are inherited in, which stand in both records alike, and shared ones.
func (b *builder) inheritable() {
	b.inherited = map[int]*specs.Area{}
	p := b.t.donor()
	if b.t.mm.Parent == 0 || p == nil || p.mm == nil || p.rec.Memory != b.t.mm.Parent || p.rec.Exe != b.t.rec.Exe {
		return
	}
	for i := range b.t.mm.Areas {
		a := &b.t.mm.Areas[i]
		j := sort.Search(len(p.mm.Areas), func(j int) bool { return p.mm.Areas[j].End > a.Start })
		if j == len(p.mm.Areas) || kernelArea(a.Kind) {
			continue
		}
		if from := &p.mm.Areas[j]; sharedHeir(a, from) || a.HeirOf(from) && !b.mustFill(a) {
			b.inherited[i] = from
		}
	}
}

// sharedHeir tells whether a fork makes the shared area a of the parent's area p: they are the same, and nothing of it
// is lost by a fork. Areas of System V keep to their own way.
func sharedHeir(a, p *specs.Area) bool {
	lost := func(f string) bool { return f == "dc" || f == "wf" || f == "lo" || f == "lf" }
	return a.Shared && a.File != 0 && a.Shmid == 0 && a.Flock == 0 && reflect.DeepEqual(a, p) && !slices.ContainsFunc(a.Flags, lost)
}

// mustFill tells whether an area cannot be inherited, because the task has pages of its own in it and cannot
// write there: it changed them after the fork and then gave the right to do so away.
func (b *builder) mustFill(a *specs.Area) bool {
	if a.Prot&unix.PROT_WRITE != 0 {
		return false
	}
	for _, e := range b.t.mm.Pages {
		if !e.Inherit && e.Start < a.End && e.Start+e.Count*pageSize > a.Start {
			return true
		}
	}
	return false
}

// resolve finds the bytes of a run of pages that stands in the record of a
// parent: the run's extents there, cut to it. Where the parent has none the pages
// are zeros. It serves tasks that cannot inherit the pages by their fork, because
// they have to be forked by somebody else.
func (r *restorer) resolve(parent specs.ID, run specs.Extent) ([]specs.Extent, error) {
	m, err := get[*specs.Memory](r, parent)
	if err != nil {
		return nil, err
	}
	end := run.Start + run.Count*pageSize
	first := sort.Search(len(m.Pages), func(i int) bool { return m.Pages[i].Start+m.Pages[i].Count*pageSize > run.Start })
	var all []specs.Extent
	for _, e := range m.Pages[first:] {
		if e.Start >= end {
			break
		}
		from := max(e.Start, run.Start)
		cut := specs.Extent{
			Start: from, Count: (min(e.Start+e.Count*pageSize, end) - from) / pageSize,
			File: e.File, Offset: e.Offset + (from - e.Start),
		}
		if !e.Inherit {
			all = append(all, cut)
			continue
		}
		above, err := r.resolve(m.Parent, cut)
		if err != nil {
			return nil, err
		}
		all = append(all, above...)
	}
	return all, nil
}

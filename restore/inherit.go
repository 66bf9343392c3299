package restore

import (
	"sort"

	"github.com/rethaw/rethaw/specs"
)

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

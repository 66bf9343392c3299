package restore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rethaw/rethaw/specs"
)

const mib = 1 << 20

func TestPlanBlocks(t *testing.T) {
	area := func(start, end uint64) specs.Area { return specs.Area{Start: start, End: end, Kind: "anon"} }
	ext := func(start, pages, offset uint64) specs.Extent {
		return specs.Extent{Start: start, Count: pages, File: 1, Offset: offset}
	}
	tests := []struct {
		name    string
		areas   []specs.Area
		unfit   int // index, from 1
		extents []specs.Extent
		runs    []blockRun
		rest    []specs.Extent
	}{
		{name: "nothing", areas: []specs.Area{area(0, 4*mib)}},
		{name: "whole block of two extents", areas: []specs.Area{area(2*mib, 4*mib)},
			extents: []specs.Extent{ext(2*mib, 256, 0), ext(3*mib, 256, 8*mib)},
			runs:    []blockRun{{2 * mib, 2 * mib, []specs.Extent{ext(2*mib, 256, 0), ext(3*mib, 256, 8*mib)}}}},
		{name: "neighbours in the file are one read", areas: []specs.Area{area(2*mib, 4*mib)},
			extents: []specs.Extent{ext(2*mib, 256, 0), ext(3*mib, 256, mib)},
			runs:    []blockRun{{2 * mib, 2 * mib, []specs.Extent{ext(2*mib, 512, 0)}}}},
		{name: "edges are the rest", areas: []specs.Area{area(mib, 5*mib)},
			extents: []specs.Extent{ext(mib, 1024, 0)},
			runs:    []blockRun{{2 * mib, 2 * mib, []specs.Extent{ext(2*mib, 512, mib)}}},
			rest:    []specs.Extent{ext(mib, 256, 0), ext(4*mib, 256, 3*mib)}},
		{name: "sparse by one page", areas: []specs.Area{area(0, 2*mib)},
			extents: []specs.Extent{ext(0, densePages-1, 0)}, rest: []specs.Extent{ext(0, densePages-1, 0)}},
		{name: "just dense", areas: []specs.Area{area(0, 2*mib)},
			extents: []specs.Extent{ext(46*pageSize, densePages, 0)},
			runs:    []blockRun{{0, 2 * mib, []specs.Extent{ext(46*pageSize, densePages, 0)}}}},
		{name: "unfit area", areas: []specs.Area{area(0, 2*mib), area(2*mib, 4*mib)}, unfit: 1,
			extents: []specs.Extent{ext(0, 1024, 0)},
			runs:    []blockRun{{2 * mib, 2 * mib, []specs.Extent{ext(2*mib, 512, 2*mib)}}}, rest: []specs.Extent{ext(0, 512, 0)}},
		{name: "block across areas", areas: []specs.Area{area(0, mib), area(mib, 2*mib)},
			extents: []specs.Extent{ext(0, 256, 0), ext(mib, 256, mib)}, rest: []specs.Extent{ext(0, 256, 0), ext(mib, 256, mib)}},
		{name: "a run for each area", areas: []specs.Area{area(0, 2*mib), area(2*mib, 4*mib)},
			extents: []specs.Extent{ext(0, 512, 0), ext(2*mib, 512, 4*mib)},
			runs: []blockRun{{0, 2 * mib, []specs.Extent{ext(0, 512, 0)}},
				{2 * mib, 2 * mib, []specs.Extent{ext(2*mib, 512, 4*mib)}}}},
		{name: "limit", areas: []specs.Area{area(0, 8*mib)},
			extents: []specs.Extent{ext(0, 3*512, 0)},
			runs: []blockRun{{0, 4 * mib, []specs.Extent{ext(0, 1024, 0)}},
				{4 * mib, 2 * mib, []specs.Extent{ext(4*mib, 512, 4*mib)}}}},
		{name: "hole between runs", areas: []specs.Area{area(0, 8*mib)},
			extents: []specs.Extent{ext(0, 512, 0), ext(4*mib, 512, 2*mib)},
			runs: []blockRun{{0, 2 * mib, []specs.Extent{ext(0, 512, 0)}},
				{4 * mib, 2 * mib, []specs.Extent{ext(4*mib, 512, 2*mib)}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs, rest := planBlocks(tt.extents, tt.areas, func(i int) bool { return i+1 != tt.unfit }, 4*mib)
			if d := cmp.Diff(tt.runs, runs, cmp.AllowUnexported(blockRun{})); d != "" {
				t.Error("runs:", d)
			}
			if d := cmp.Diff(tt.rest, rest); d != "" {
				t.Error("rest:", d)
			}
		})
	}
}

// FuzzPlanBlocks checks that every page of the extents is read exactly once, from where
// it was.
func FuzzPlanBlocks(f *testing.F) {
	f.Add([]byte{1, 200, 3, 90, 0, 255, 255, 255, 2, 7})
	f.Add([]byte{0, 255, 0, 255, 0, 255, 0, 255, 100, 255, 0, 255, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		areas := []specs.Area{{Start: 0, End: 5 * mib}, {Start: 5 * mib, End: 6 * mib}, {Start: 6 * mib, End: 1 << 40}}
		var extents []specs.Extent
		at, offset := uint64(0), uint64(0)
		want := map[uint64]uint64{}
		for ; len(b) >= 2; b = b[2:] {
			at += uint64(b[0]) * pageSize
			e := specs.Extent{Start: at, Count: uint64(b[1]), File: 1, Offset: offset}
			if e.Count == 0 {
				continue
			}
			for p := range e.Count {
				want[at+p*pageSize] = offset + p*pageSize
			}
			at += e.Count * pageSize
			offset += e.Count*pageSize + uint64(b[0]&1)*pageSize
			extents = append(extents, e)
		}
		runs, rest := planBlocks(extents, areas, func(i int) bool { return i != 1 }, 4*mib)
		reads := rest
		for _, r := range runs {
			if r.start%blockSize != 0 || r.size == 0 || r.size%blockSize != 0 || r.size > 4*mib || !sameArea(areas, r.start, r.start+r.size-1) {
				t.Errorf("run %x+%x", r.start, r.size)
			}
			pages := uint64(0)
			for _, e := range r.reads {
				pages += e.Count
				if e.Start < r.start || e.Start+e.Count*pageSize > r.start+r.size {
					t.Errorf("extent %x+%d in run %x+%x", e.Start, e.Count, r.start, r.size)
				}
			}
			if pages < densePages*r.size/blockSize {
				t.Errorf("run %x+%x has %d pages", r.start, r.size, pages)
			}
			reads = append(reads, r.reads...)
		}
		for _, e := range reads {
			for p := range e.Count {
				if got, ok := want[e.Start+p*pageSize]; !ok || got != e.Offset+p*pageSize {
					t.Fatalf("page %x is read from %x, want %x", e.Start+p*pageSize, e.Offset+p*pageSize, got)
				}
				delete(want, e.Start+p*pageSize)
			}
		}
		if len(want) > 0 {
			t.Errorf("%d pages are not read", len(want))
		}
	})
}

package restore

import (
	"slices"

	"github.com/rethaw/rethaw/specs"
)

// blockSize is that of a huge page (PMD) with pages of 4 KiB.
const blockSize = 2 << 20

// densePages is how many of the 512 pages of a block must stand in the image for
// the block to be filled as a huge page. The others come to be there as well, so
// that memory grows by a tenth at most.
const densePages = 466

// blockRun is a run of blocks that are filled together, and what is read into them.
type blockRun struct {
	start, size uint64
	reads       []specs.Extent
}

// planBlocks divides extents, which are in the order of their addresses, into
// dense blocks inside the areas that fit tells, and the rest. Runs are at most
// limit bytes long and stay within one area.
func planBlocks(extents []specs.Extent, areas []specs.Area, fit func(i int) bool, limit uint64) (runs []blockRun, rest []specs.Extent) {
	var block []specs.Extent // the pieces in the block at hand
	area, in := 0, -1        // the area at hand, and that of the last run
	flush := func() {
		if len(block) == 0 {
			return
		}
		start, pages := block[0].Start&^(blockSize-1), uint64(0)
		for _, e := range block {
			pages += e.Count
		}
		for area < len(areas) && areas[area].End <= start {
			area++
		}
		switch {
		case pages < densePages || area == len(areas) || areas[area].Start > start || areas[area].End < start+blockSize || !fit(area):
			for _, e := range block {
				rest = join(rest, e, areas)
			}
		default:
			n := len(runs)
			if n == 0 || in != area || runs[n-1].start+runs[n-1].size != start || runs[n-1].size+blockSize > limit {
				runs, n = append(runs, blockRun{start: start}), n+1
			}
			in = area
			runs[n-1].size += blockSize
			for _, e := range block {
				runs[n-1].reads = join(runs[n-1].reads, e, areas)
			}
		}
		block = block[:0]
	}
	for _, e := range extents {
		for e.Count > 0 {
			end := e.Start&^(blockSize-1) + blockSize
			n := min(e.Count, (end-e.Start)/pageSize)
			if len(block) > 0 && block[0].Start&^(blockSize-1) != end-blockSize {
				flush()
			}
			piece := e
			piece.Count = n
			block = append(block, piece)
			e.Start, e.Offset, e.Count = e.Start+n*pageSize, e.Offset+n*pageSize, e.Count-n
		}
	}
	flush()
	return runs, rest
}

// maxRead is the longest read; a read of 2 GiB and more is cut short by the kernel.
const maxRead = 1 << 30

// join appends an extent to a list, or to its last one if they are neighbours in
// memory, in one area, and in the file.
func join(list []specs.Extent, e specs.Extent, areas []specs.Area) []specs.Extent {
	if n := len(list); n > 0 {
		l := &list[n-1]
		size := l.Count * pageSize
		if l.File == e.File && l.Start+size == e.Start && l.Offset+size == e.Offset && size < maxRead && sameArea(areas, l.Start, e.Start) {
			l.Count += e.Count
			return list
		}
	}
	return append(list, e)
}

// sameArea tells whether two addresses are in one area.
func sameArea(areas []specs.Area, x, y uint64) bool {
	i, _ := slices.BinarySearchFunc(areas, x, func(a specs.Area, x uint64) int {
		if a.End <= x {
			return -1
		}
		return 1
	})
	return i < len(areas) && areas[i].Start <= x && y < areas[i].End
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

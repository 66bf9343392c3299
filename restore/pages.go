package restore

import (
	"fmt"
	"os"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

const pageSize = 4096

// fill has the task read its pages from the pages files.
func (b *builder) fill() error {
	var numbers []uint32
	for _, e := range b.t.mm.Pages {
		if !e.Inherit && !slices.Contains(numbers, e.File) {
			numbers = append(numbers, e.File)
		}
	}
	var files []*os.File
	for _, n := range numbers {
		f, err := b.r.img.PagesFile(n)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	fds, err := b.r.send(b.t, files)
	if err != nil {
		return err
	}
	var calls []inject.Call
	var sizes []int64
	for _, e := range b.merged() {
		fd := fds[slices.Index(numbers, e.File)]
		calls = append(calls, inject.Call{Nr: unix.SYS_PREAD64, Args: [6]uint64{uint64(fd), e.Start, e.Count * pageSize, e.Offset}})
		sizes = append(sizes, int64(e.Count*pageSize))
	}
	if err := b.r.run0(b.t, calls); err != nil {
		return err
	}
	for i, c := range calls {
		if c.Ret != sizes[i] {
			return fmt.Errorf("read %d bytes to %x: got %d", sizes[i], c.Args[1], c.Ret)
		}
	}
	for _, fd := range fds {
		b.add("close", unix.SYS_CLOSE, uint64(fd))
	}
	return b.flush()
}

// merged joins extents that are neighbours in memory and in the file.
func (b *builder) merged() []specs.Extent {
	var out []specs.Extent
	for _, e := range b.t.mm.Pages {
		if e.Inherit {
			continue
		}
		if n := len(out); n > 0 {
			l := &out[n-1]
			size := l.Count * pageSize
			if l.File == e.File && l.Start+size == e.Start && l.Offset+size == e.Offset && size < 1<<30 && b.sameArea(l.Start, e.Start) {
				l.Count += e.Count
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// sameArea tells whether two addresses are in one area.
func (b *builder) sameArea(x, y uint64) bool {
	for _, a := range b.t.mm.Areas {
		if a.Start <= x && x < a.End {
			return y < a.End
		}
	}
	return false
}

// run0 makes calls if there are any.
func (r *restorer) run0(t *task, calls []inject.Call) error {
	if len(calls) == 0 {
		return nil
	}
	return r.run(t, calls, nil)
}

// dropStale gives back pages of inherited areas that the parent has and the
// task had not.
func (b *builder) dropStale() error {
	if len(b.inherited) == 0 {
		return nil
	}
	own := slices.Clone(b.t.mm.Pages)
	slices.SortFunc(own, func(x, y specs.Extent) int {
		if x.Start < y.Start {
			return -1
		}
		return 1
	})
	for i, a := range b.t.mm.Areas {
		if !b.inherited[i] {
			continue
		}
		at := a.Start
		for _, e := range own {
			end := e.Start + e.Count*pageSize
			if end <= a.Start || e.Start >= a.End {
				continue
			}
			if e.Start > at {
				b.add("drop pages", unix.SYS_MADVISE, at, e.Start-at, unix.MADV_DONTNEED)
			}
			at = max(at, end)
		}
		if at < a.End {
			b.add("drop pages", unix.SYS_MADVISE, at, a.End-at, unix.MADV_DONTNEED)
		}
	}
	return b.flush()
}

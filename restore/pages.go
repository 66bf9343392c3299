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

// fill has the task read its pages from the pages files: what is dense as huge
// pages (move.go), the rest to its place.
func (b *builder) fill() error {
	own, err := b.ownPages()
	if err != nil {
		return err
	}
	var numbers []uint32
	for _, e := range own {
		if !slices.Contains(numbers, e.File) {
			numbers = append(numbers, e.File)
		}
	}
	if len(numbers) == 0 {
		return nil
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
	b.pages = map[uint32]int{}
	for i, n := range numbers {
		b.pages[n] = fds[i]
	}
	runs, rest := planBlocks(own, b.t.mm.Areas, b.huge, stagingSize)
	missed, err := b.move(runs)
	if err != nil {
		return err
	}
	if err := b.read(append(rest, missed...)); err != nil {
		return err
	}
	for _, fd := range fds {
		b.add("close", unix.SYS_CLOSE, uint64(fd))
	}
	return b.flush()
}

// ownPages are the extents that the fork has not brought.
func (b *builder) ownPages() ([]specs.Extent, error) {
	var own []specs.Extent
	for _, e := range b.t.mm.Pages {
		if !e.Inherit {
			own = append(own, e)
			continue
		}
		if b.hasInherited(e.Start) {
			continue
		}
		found, err := b.r.resolve(b.t.mm.Parent, e)
		if err != nil {
			return nil, err
		}
		own = append(own, found...)
	}
	return own, nil
}

// hasInherited tells whether the area of an address came by the fork.
func (b *builder) hasInherited(addr uint64) bool {
	for i := range b.inherited {
		if a := &b.t.mm.Areas[i]; a.Start <= addr && addr < a.End {
			return true
		}
	}
	return false
}

// read has the task read extents to their place.
func (b *builder) read(extents []specs.Extent) error {
	var calls []inject.Call
	for _, e := range extents {
		calls = append(calls, b.pread(e, e.Start))
	}
	if err := b.r.run0(b.t, calls); err != nil {
		return err
	}
	return complete(calls)
}

// pread is the call that reads an extent to an address.
func (b *builder) pread(e specs.Extent, to uint64) inject.Call {
	return inject.Call{Nr: unix.SYS_PREAD64, Args: [6]uint64{uint64(b.pages[e.File]), to, e.Count * pageSize, e.Offset}}
}

// complete checks that reads have read all.
func complete(calls []inject.Call) error {
	for _, c := range calls {
		if c.Failed() {
			return fmt.Errorf("read %d bytes to %x: %w", c.Args[2], c.Args[1], unix.Errno(-c.Ret))
		}
		if c.Ret != int64(c.Args[2]) {
			return fmt.Errorf("read %d bytes to %x: got %d", c.Args[2], c.Args[1], c.Ret)
		}
	}
	return nil
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
		if !b.inherited[i] || a.HugePage != 0 {
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

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

// pagesFiles finds the pages that are to be read, and opens their files unless the pages are few.
func (b *builder) pagesFiles() (files []*os.File, numbers []uint32, err error) {
	if b.own, err = b.ownPages(); err != nil {
		return nil, nil, err
	}
	if carries(b.own) {
		return nil, nil, nil
	}
	for _, e := range b.own {
		number := e.File
		if b.r.img.Window() != 0 {
			number = 0 // where they are loaded
		}
		if slices.Contains(numbers, number) {
			continue
		}
		f, err := b.r.img.PagesFile(number)
		if err != nil {
			return nil, nil, err
		}
		files, numbers = append(files, f), append(numbers, number)
	}
	return files, numbers, nil
}

// fill has the task read its pages from the pages files: what is dense as huge
// pages (move.go), the rest to its place. Of a stream it reads a window at a time. A few pages are
// written into it from here (carry.go).
func (b *builder) fill() error {
	for rest := b.own; len(rest) > 0; {
		// What was loaded before must have been read.
		if len(rest) < len(b.own) {
			if err := b.flush(); err != nil {
				return err
			}
		}
		n := loadable(rest, b.r.img.Window())
		loaded, err := b.r.img.Load(rest[:n])
		if err != nil {
			return err
		}
		into := b.fillFrom
		if carries(b.own) {
			into = b.carry
		}
		if err := into(loaded); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// loadable is how many extents of a list fit into a window of so many bytes, 0 for any
// number. The last of them ends a block, if possible, lest it be divided.
func loadable(list []specs.Extent, window uint64) int {
	if window == 0 {
		return len(list)
	}
	whole, size := 0, uint64(0)
	for i, e := range list {
		size += e.Count * pageSize
		if i > 0 && size > window {
			return max(whole, 1)
		}
		end := e.Start + e.Count*pageSize
		if i+1 == len(list) || list[i+1].Start&^(blockSize-1) >= end {
			whole = i + 1
		}
	}
	return len(list)
}

func (b *builder) fillFrom(list []specs.Extent) error {
	runs, rest := planBlocks(list, b.t.mm.Areas, b.huge, stagingSize)
	missed, err := b.move(runs)
	if err != nil {
		return err
	}
	for _, list := range [][]specs.Extent{rest, missed} {
		for _, e := range list {
			b.calls, b.what = append(b.calls, b.pread(e, e.Start)), append(b.what, "read pages")
		}
	}
	return nil
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
		if b.inherited[i] == nil || a.Shared || a.HugePage != 0 {
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
	return nil
}

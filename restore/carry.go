package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// carryLimit is up to how many bytes of pages we write into a task ourselves. That copies them once more than a
// read of the task's own does, but to bring the file into its table takes as long as to copy twice as much.
const carryLimit = 256 << 10

// carries tells whether the pages of a list are few enough.
func carries(list []specs.Extent) bool { return pagesSize(list) <= carryLimit }

// pagesSize is the size of the pages of a list in bytes.
func pagesSize(list []specs.Extent) (size uint64) {
	for _, e := range list {
		size += e.Count * pageSize
	}
	return size
}

// carry writes pages, at most carryLimit bytes, into the task (process_vm_writev(2)), whose areas are mapped and
// still writable.
func (b *builder) carry(list []specs.Extent) error {
	if err := b.flush(); err != nil {
		return err
	}
	if b.r.carried == nil {
		b.r.carried = make([]byte, carryLimit)
	}
	room := b.r.carried[:pagesSize(list)]
	var to []unix.RemoteIovec
	at := room
	for _, e := range list {
		n := int(e.Count * pageSize)
		f, err := b.r.img.PagesFile(e.File)
		if err != nil {
			return err
		}
		if _, err := f.ReadAt(at[:n], int64(e.Offset)); err != nil {
			return fmt.Errorf("read the pages of %x: %w", e.Start, err)
		}
		to = append(to, unix.RemoteIovec{Base: uintptr(e.Start), Len: n})
		at = at[n:]
	}
	from := []unix.Iovec{{Base: &room[0]}}
	from[0].SetLen(len(room))
	n, err := unix.ProcessVMWritev(b.t.at, from, to, 0)
	if err == nil && n != len(room) {
		err = unix.EFAULT
	}
	if err != nil {
		return fmt.Errorf("write %d bytes of pages: %w", len(room), err)
	}
	return nil
}

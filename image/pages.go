package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// Pages is one pages-N.rp that is being written. Each writer of page data has its
// own: two in one file would wait for each other at the inode's lock.
type Pages struct {
	// file is nil in a stream, recital in a directory.
	file    *os.File
	recital *recital
	number  uint32
	// haste has the disk begin while more is to come, nil in no haste.
	haste *haste

	mu   sync.Mutex
	size int64
	// sum is the digest of the bytes so far, as long as all came through Append, one after the
	// other: then nobody has to read them again. Nil in no haste.
	sum *runningSum
}

// Pages makes a new pages file. It is the writer's to close.
func (w *Writer) Pages() (*Pages, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return nil, fmt.Errorf("pages file: %w", err)
	}
	p, err := w.store.pages(uint32(len(w.pages) + 1))
	if err != nil {
		return nil, full(fmt.Errorf("pages file: %w", err))
	}
	w.pages = append(w.pages, p)
	return p, nil
}

// Append adds b, whole pages and not more than MaxAppend bytes, and describes it as an
// extent, whose Start is left to the caller. from has the same bytes at offset at: a
// stream, which must tell the sums of all bytes before the first of them, takes them
// from there while the image is sealed.
func (p *Pages) Append(b []byte, from io.ReaderAt, at int64) (specs.Extent, error) {
	page := os.Getpagesize()
	if len(b) == 0 || len(b)%page != 0 || len(b) > MaxAppend {
		return specs.Extent{}, fmt.Errorf("%s: cannot append %d bytes", p.name(), len(b))
	}
	e := specs.Extent{Count: uint64(len(b) / page), File: p.number, Sum: Sum(b)}
	if p.recital != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		e.Offset = uint64(p.size)
		p.size += int64(len(b))
		p.recital.add(b, e.Sum, from, at)
		return e, nil
	}
	offset, err := p.allocate(int64(len(b)), len(b) >= worthAllocating)
	if err != nil {
		return e, err
	}
	e.Offset = uint64(offset)
	p.sum.add(b, offset)
	if _, err := p.file.WriteAt(b, offset); err != nil {
		return e, full(err)
	}
	p.haste.wrote(p.file, offset, offset+int64(len(b)))
	return e, nil
}

// Finish tells that no more is appended, so that an image that is made WithHaste goes to the disk. It may be
// left out.
func (p *Pages) Finish() {
	if p.file == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.haste.whole(p.name(), p.file, p.size)
}

// MaxAppend is the most that Append takes, in bytes.
const MaxAppend = 1 << 20

func (p *Pages) name() string { return pagesName(p.number) }

// File is open for reading and writing and may be handed to the tasks, who pwrite
// their own pages. All must have done so before Finish or Commit. A stream has none.
func (p *Pages) File() *os.File {
	p.sum.lose()
	return p.file
}

// Number is N of pages-N.rp, from 1, for Extent.File.
func (p *Pages) Number() uint32 { return p.number }

// Allocate adds room for bytes, rounded up to whole pages, at the end of the file
// and returns where it begins, a multiple of the page size. The blocks are taken
// from the filesystem at once, where it can (fallocate(2)): a full disk shows here
// and not in the middle of the pages, and writing is faster.
func (p *Pages) Allocate(bytes int64) (offset int64, err error) { return p.allocate(bytes, true) }

// worthAllocating is from how many bytes on a write finds its blocks taken. For a few it would take longer than
// to write them.
const worthAllocating = 64 << 10

// allocate is Allocate, with blocks or as a mere place, which a write makes.
func (p *Pages) allocate(bytes int64, blocks bool) (offset int64, err error) {
	if p.file == nil || bytes < 0 || bytes > maxAllocation {
		return 0, fmt.Errorf("%s: cannot allocate %d bytes", p.name(), bytes)
	}
	page := int64(os.Getpagesize())
	bytes = (bytes + page - 1) / page * page
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes > maxAllocation-p.size {
		return 0, fmt.Errorf("%s: cannot allocate %d bytes after %d", p.file.Name(), bytes, p.size)
	}
	if bytes == 0 {
		return p.size, nil
	}
	if blocks {
		if err := p.grow(bytes); err != nil {
			return 0, full(fmt.Errorf("%s: allocate %d bytes: %w", p.file.Name(), bytes, err))
		}
	}
	offset, p.size = p.size, p.size+bytes
	return offset, nil
}

// maxAllocation keeps sums of sizes within an int64.
const maxAllocation = 1 << 62

// grow takes blocks, or only moves the end of the file where the filesystem
// cannot (NFS before 4.2, for one).
func (p *Pages) grow(bytes int64) error {
	fd := int(p.file.Fd())
	err := retry(func() error { return unix.Fallocate(fd, 0, p.size, bytes) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return retry(func() error { return unix.Ftruncate(fd, p.size+bytes) })
	}
	return err
}

// allocated is the size of the pages file n. The caller holds w.mu.
func (w *Writer) allocated(n uint32) (int64, bool) {
	if n == 0 || int(n) > len(w.pages) {
		return 0, false
	}
	p := w.pages[n-1]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size, true
}

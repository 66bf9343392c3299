package kmem

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageMap tells where the page with number n is: its struct page is at
// structs+n*structSize, its contents are at linear+n*pageSize (mm/sparse-vmemmap.c).
type pageMap struct{ structs, structSize, linear, pageSize uint64 }

// errUnknownMap means that the linear map was not found.
var errUnknownMap = errors.New("place of the kernel's linear map of memory is not known")

// step is the alignment of the linear map: it begins at a multiple of 1 GiB,
// wherever it was moved to at boot.
const step = 1 << 30

// Page gives the address of the contents of the page that a struct page stands
// for.
func (r *Reader) Page(page uint64) (uint64, error) {
	if r.pages == nil {
		m, err := r.measure()
		if err != nil {
			return 0, err
		}
		r.pages = m
	}
	m := r.pages
	if page < m.structs || (page-m.structs)%m.structSize != 0 {
		return 0, fmt.Errorf("%w: %#x is no page", ErrMemory, page)
	}
	return m.linear + (page-m.structs)/m.structSize*m.pageSize, nil
}

// measure finds both places by means of a page of our own. Its number is that of
// /proc/self/pagemap; its struct page stands in a pipe into which it was
// spliced; and its contents are tried for at each place where the map can begin,
// of which there are as many as gibibytes of memory.
func (r *Reader) measure() (*pageMap, error) {
	size := os.Getpagesize()
	own, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(own)
	if _, err := rand.Read(own); err != nil {
		return nil, err
	}
	page, pipe, done, err := r.splice(own)
	if err != nil {
		return nil, err
	}
	defer done()
	// The pipe holds the page where it is.
	number, err := frame(own)
	if err != nil {
		return nil, err
	}
	m := &pageMap{pageSize: uint64(size)}
	structSize, err := r.Size("page")
	if err != nil {
		return nil, err
	}
	m.structSize = uint64(structSize)
	m.structs = page - number*m.structSize
	// The struct of the pipe is in the linear map itself, as is all that kmalloc gives.
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, err
	}
	got := make([]byte, size)
	start := pipe &^ uint64(step-1)
	for i := uint64(0); i <= uint64(info.Totalram)*uint64(info.Unit)/step+64; i++ {
		m.linear = start - i*step
		if err := r.Read(m.linear+number*m.pageSize, got); err == nil && bytes.Equal(got, own) {
			return m, nil
		}
	}
	return nil, errUnknownMap
}

// frame gives the number of a page in memory.
func frame(page []byte) (uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, 8)
	if _, err := f.ReadAt(b, int64(uintptr(unsafe.Pointer(&page[0]))/uintptr(len(page))*8)); err != nil {
		return 0, err
	}
	const bits = 1<<55 - 1
	n := binary.LittleEndian.Uint64(b) & bits
	if n == 0 {
		return 0, fmt.Errorf("number of a page: %w", unix.EPERM)
	}
	return n, nil
}

// splice puts a page into a pipe, and gives its struct page and the pipe's own
// struct, both good until done is called.
func (r *Reader) splice(own []byte) (page, pipe uint64, done func(), err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, nil, err
	}
	done = func() {
		unix.Close(ends[0])
		unix.Close(ends[1])
	}
	defer func() {
		if err != nil {
			done()
		}
	}()
	iov := unix.Iovec{Base: &own[0]}
	iov.SetLen(len(own))
	if _, err := unix.Vmsplice(ends[1], []unix.Iovec{iov}, 0); err != nil {
		return 0, 0, nil, fmt.Errorf("vmsplice: %w", err)
	}
	if pipe, err = r.Private(ends[0]); err != nil {
		return 0, 0, nil, err
	}
	bufs, err := r.Number(pipe, "pipe_inode_info", "bufs")
	if err != nil {
		return 0, 0, nil, err
	}
	page, err = r.Number(bufs, "pipe_buffer", "page")
	return page, pipe, done, err
}

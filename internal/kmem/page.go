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

// pages tell where pages are mapped that the kernel knows by struct page.
type pages struct {
	// task is the task_struct of our first thread.
	task uint64
	// direct is where physical memory is mapped from page number 0 on, array
	// where its struct pages are; both 0 as long as they are not known.
	direct, array uint64
}

// errNoPage means that our own page was not found again.
var errNoPage = errors.New("cannot tell where this kernel maps its pages")

// PageAddress gives the address at which the page of a struct page is mapped.
func (r *Reader) PageAddress(page uint64) (uint64, error) {
	if r.direct == 0 {
		if err := r.findPages(); err != nil {
			return 0, err
		}
	}
	size, err := r.Size("page")
	if err != nil {
		return 0, err
	}
	return r.direct + (page-r.array)/uint64(size)*uint64(os.Getpagesize()), nil
}

// findPages finds the two bases with a page of our own, of which both the number
// (/proc/self/pagemap) and, once it is in a pipe, the struct page are known. The
// base of the mapping is a multiple of 1 GiB (or more) below our task_struct, which
// lies in it; the right one shows the page's content.
func (r *Reader) findPages() error {
	size := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(mem)
	if _, err := rand.Read(mem); err != nil {
		return err
	}
	number, err := pageNumber(uintptr(unsafe.Pointer(&mem[0])))
	if err != nil {
		return err
	}
	page, err := r.structPage(mem)
	if err != nil {
		return err
	}
	each, err := r.Size("page")
	if err != nil {
		return err
	}
	const gib = 1 << 30
	want := mem[:64]
	for base := r.task &^ (gib - 1); base > r.task-uint64(1<<16)*gib && base>>63 != 0; base -= gib {
		got, err := r.Bytes(base+number*uint64(size), len(want))
		if err == nil && bytes.Equal(got, want) {
			r.direct, r.array = base, page-number*uint64(each)
			return nil
		}
	}
	return errNoPage
}

// pageNumber reads /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst).
func pageNumber(addr uintptr) (uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [8]byte
	if _, err := f.ReadAt(b[:], int64(addr)/int64(os.Getpagesize())*8); err != nil {
		return 0, err
	}
	number := binary.NativeEndian.Uint64(b[:]) & (1<<55 - 1)
	if number == 0 {
		return 0, fmt.Errorf("%w: /proc/self/pagemap hides it", errNoPage)
	}
	return number, nil
}

// structPage gives the struct page of a page of ours.
func (r *Reader) structPage(mem []byte) (uint64, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	iov := []unix.Iovec{{Base: &mem[0]}}
	iov[0].SetLen(len(mem))
	if _, err := unix.Vmsplice(p[1], iov, 0); err != nil {
		return 0, os.NewSyscallError("vmsplice", err)
	}
	pipe, err := r.Private(p[0])
	if err != nil {
		return 0, err
	}
	return r.Follow(pipe, "pipe_inode_info.bufs", "pipe_buffer.page")
}

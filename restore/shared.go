package restore

import (
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// mapped gives a file that can be mapped: a regular one, a deleted one, a memfd,
// or shared memory. It is made once.
func (r *restorer) mapped(id specs.ID) (*os.File, error) {
	if f := r.files.mapped[id]; f != nil {
		return f, nil
	}
	if f := r.files.open[id]; f != nil {
		return f, nil
	}
	rec, err := r.img.Record(id)
	if err != nil {
		return nil, err
	}
	var f *os.File
	switch rec := rec.(type) {
	case *specs.Shared:
		f, err = r.sharedObject(rec)
	case specs.File:
		f, err = r.openFile(id, rec)
	default:
		err = fmt.Errorf("record %d is no file", id)
	}
	if err != nil {
		return nil, err
	}
	r.files.mapped[id] = f
	return f, nil
}

// sharedObject makes shared anonymous memory: we map it ourselves and take it as
// a file from our own /proc/PID/map_files, so that it shows as what it was.
func (r *restorer) sharedObject(s *specs.Shared) (*os.File, error) {
	mem, err := unix.Mmap(-1, 0, int(s.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map shared memory of %d bytes: %w", s.Size, err)
	}
	defer unix.Munmap(mem)
	start := uintptr(unsafe.Pointer(&mem[0]))
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/map_files/%x-%x", start, start+uintptr(len(mem))), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return f, r.fillFile(f, s.Pages)
}

// fillFile writes extents, whose starts are offsets, into a file.
func (r *restorer) fillFile(f *os.File, extents []specs.Extent) error {
	for _, e := range extents {
		pages, err := r.img.PagesFile(e.File)
		if err != nil {
			return err
		}
		size := int64(e.Count * pageSize)
		src := io.NewSectionReader(pages, int64(e.Offset), size)
		n, err := io.Copy(io.NewOffsetWriter(f, int64(e.Start)), src)
		if err != nil || n != size {
			return fmt.Errorf("fill %s: %d of %d bytes: %w", f.Name(), n, size, err)
		}
	}
	return nil
}

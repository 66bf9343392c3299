package restore

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// backing is what an area maps: a file, or a description of it for reading only.
type backing struct {
	id       specs.ID
	readOnly bool
}

// backing gives the file for an area.
func (r *restorer) backing(key backing) (*os.File, error) {
	if !key.readOnly {
		return r.mapped(key.id)
	}
	if f := r.files.readOnly[key.id]; f != nil {
		return f, nil
	}
	file, err := r.mapped(key.id)
	if err != nil {
		return nil, err
	}
	f, err := openAgain(file, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	r.files.readOnly[key.id] = f
	return f, nil
}

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

// sharedObject makes shared memory.
func (r *restorer) sharedObject(s *specs.Shared) (*os.File, error) {
	if s.Kind == "memfd" {
		return r.makeMemfd(s)
	}
	if s.Kind != "anonymous" {
		return nil, fmt.Errorf("%w: shared memory of the kind %q cannot be mapped", ErrUnfit, s.Kind)
	}
	// We map it ourselves and take it as a file from our own /proc/PID/map_files,
	// so that it shows as what it was.
	flags := unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	if s.HugePage != 0 {
		flags |= unix.MAP_HUGETLB | int(s.HugePage)<<unix.MAP_HUGE_SHIFT
	}
	mem, err := unix.Mmap(-1, 0, int(s.Size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map shared memory of %d bytes: %w", s.Size, err)
	}
	defer unix.Munmap(mem)
	var f *os.File
	err = outside(func() error {
		start := uintptr(unsafe.Pointer(&mem[0]))
		f, err = os.OpenFile(fmt.Sprintf("/proc/self/map_files/%x-%x", start, start+uintptr(len(mem))), os.O_RDWR, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.fillShared(f, s); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fillShared gives shared memory its contents. hugetlbfs has no write(2).
func (r *restorer) fillShared(f *os.File, s *specs.Shared) error {
	if s.Full {
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(s.Size)); err != nil {
			return fmt.Errorf("allocate %d bytes: %w", s.Size, err)
		}
	}
	if s.HugePage == 0 || len(s.Pages) == 0 {
		return r.fillFile(f, s.Pages)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(s.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return errors.Join(r.fillMemory(mem, s.Pages), unix.Munmap(mem))
}

// fillFile writes extents, whose starts are offsets, into a file.
func (r *restorer) fillFile(f *os.File, extents []specs.Extent) error {
	return r.img.Extents(extents, func(start uint64, b []byte) error {
		if _, err := f.WriteAt(b, int64(start)); err != nil {
			return fmt.Errorf("fill %s: %w", f.Name(), err)
		}
		return nil
	})
}

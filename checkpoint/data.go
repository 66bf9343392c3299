package checkpoint

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// chunk is how many bytes are moved at a time, and the longest extent: each has
// its own sum.
const chunk = 1 << 20

const pageSize = 4096

// dataWriter puts bytes into pages files: one writer, one file.
type dataWriter struct {
	out *image.Writer
	mu  sync.Mutex
	one *pagesWriter
	// kept are files that a stream reads from once more.
	kept []*os.File
}

// prepare makes the first pages file ahead of the freeze.
func (w *dataWriter) prepare() error {
	var err error
	w.one, err = newPagesWriter(w.out)
	return err
}

// take hands the writer that was prepared to the first who asks, and a new one
// to others. Where the order counts, the one that was prepared is for files and shared
// memory alone, which come first.
func (w *dataWriter) take() (*pagesWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if one := w.one; one != nil && !w.out.Ordered() {
		w.one = nil
		return one, nil
	}
	return newPagesWriter(w.out)
}

// data is the writer for files. The caller holds mu.
func (w *dataWriter) data() (*pagesWriter, error) {
	if w.one == nil {
		var err error
		if w.one, err = newPagesWriter(w.out); err != nil {
			return nil, err
		}
	}
	return w.one, nil
}

// again is a source for a stream of what is in f, which the caller will close.
func (w *dataWriter) again(f *os.File) (io.ReaderAt, error) {
	if !w.out.Ordered() {
		return f, nil
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	kept := os.NewFile(uintptr(fd), f.Name())
	w.kept = append(w.kept, kept)
	return padded{kept}, nil
}

// padded reads a file as whole pages.
type padded struct{ io.ReaderAt }

// ReadAt implements io.ReaderAt.
func (p padded) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, at)
	if n > 0 && errors.Is(err, io.EOF) {
		clear(b[n:])
		return len(b), nil
	}
	return n, err
}

// pagesWriter appends to one pages file.
type pagesWriter struct {
	pages *image.Pages
	buf   []byte
}

func newPagesWriter(out *image.Writer) (*pagesWriter, error) {
	p, err := out.Pages()
	if err != nil {
		return nil, err
	}
	// Memory of its own: the garbage collector need not look at it.
	buf, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	return &pagesWriter{pages: p, buf: buf}, nil
}

func (w *pagesWriter) close() {
	if w.buf != nil {
		w.pages.Finish()
		_ = unix.Munmap(w.buf)
		w.buf = nil
	}
}

// append writes b, whole pages, and describes it as the extent that starts at
// start. Pages of zeros are left out: what is not there reads as zeros. from has the
// same at the offset start.
func (w *pagesWriter) append(start uint64, b []byte, from io.ReaderAt, stats *pageCounts) ([]specs.Extent, error) {
	var extents []specs.Extent
	for len(b) > 0 {
		n := zeroPages(b)
		stats.zero += int64(n)
		b, start = b[n*pageSize:], start+uint64(n)*pageSize
		n = dataPages(b)
		if n == 0 {
			continue
		}
		run := b[:n*pageSize]
		e, err := w.whole(start, run, from, stats)
		if err != nil {
			return nil, err
		}
		extents = append(extents, e)
		b, start = b[len(run):], start+uint64(len(run))
	}
	return extents, nil
}

// whole writes b, whole pages, zeros and all.
func (w *pagesWriter) whole(start uint64, b []byte, from io.ReaderAt, stats *pageCounts) (specs.Extent, error) {
	e, err := w.pages.Append(b, from, int64(start))
	if err != nil {
		return specs.Extent{}, err
	}
	e.Start = start
	stats.written += int64(e.Count)
	return e, nil
}

// pageCounts counts pages by what became of them.
type pageCounts struct{ scanned, written, zero, shared int64 }

// file saves the data of a file, without its holes. The last page is filled up
// with zeros; offsets stand for addresses.
func (w *dataWriter) file(f *os.File, size int64) ([]specs.Extent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if size == 0 {
		return nil, nil
	}
	one, err := w.data()
	if err != nil {
		return nil, err
	}
	from, err := w.again(f)
	if err != nil {
		return nil, err
	}
	var all []specs.Extent
	var counts pageCounts
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		for at = data &^ (pageSize - 1); at < min(hole, size); {
			n, err := f.ReadAt(one.buf[:min(chunk, hole-at)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if n == 0 {
				return all, nil
			}
			full := (n + pageSize - 1) &^ (pageSize - 1)
			clear(one.buf[n:full])
			extents, err := one.append(uint64(at), one.buf[:full], from, &counts)
			if err != nil {
				return nil, err
			}
			all = append(all, extents...)
			at += int64(full)
		}
	}
	return all, nil
}

// bytes saves what is in memory, as the contents of a file are. from has the same.
func (w *dataWriter) bytes(b []byte, from io.ReaderAt) ([]specs.Extent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, err := w.data()
	if err != nil {
		return nil, err
	}
	var all []specs.Extent
	var counts pageCounts
	for at := uint64(0); len(b) > 0; {
		n := copy(one.buf, b)
		full := (n + pageSize - 1) &^ (pageSize - 1)
		clear(one.buf[n:full])
		extents, err := one.append(at, one.buf[:full], from, &counts)
		if err != nil {
			return nil, err
		}
		all = append(all, extents...)
		b, at = b[n:], at+uint64(full)
	}
	return all, nil
}

func (w *dataWriter) close() {
	if w == nil {
		return
	}
	if w.one != nil {
		w.one.close()
	}
	for _, f := range w.kept {
		f.Close()
	}
	w.kept = nil
}

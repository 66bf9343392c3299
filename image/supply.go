package image

import (
	"errors"
	"io"

	"github.com/rethaw/rethaw/specs"
)

// What follows gives contents in a way that fits a directory as well as a stream.

// File is a member that is read. A stream gives it from its beginning to its end only.
type File interface {
	io.ReaderAt
	io.Closer
}

// Contents opens the member name for reading. It is the caller's to close.
func (r *Reader) Contents(name string) (File, error) {
	if r.stream == nil {
		return r.Member(name)
	}
	return &streamed{r, name}, nil
}

// streamed is a member of a stream.
type streamed struct {
	r    *Reader
	name string
}

// ReadAt implements io.ReaderAt.
func (f *streamed) ReadAt(b []byte, at int64) (int, error) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	s := f.r.stream
	if err := s.begun(); err != nil {
		return 0, err
	}
	left := f.r.sizes[f.name] - at
	n := min(int64(len(b)), left)
	if n <= 0 {
		return 0, io.EOF
	}
	err := s.seek(f.name, at)
	if err == nil {
		err = s.read(b[:n])
	}
	if err != nil {
		return 0, s.fail(err)
	}
	if int(n) < len(b) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// Close implements io.Closer.
func (f *streamed) Close() error { return nil }

// Damage tells, for who could not make sense of contents that were read, whether they
// are not those that were written. nil if they are, or if it is not known.
func (r *Reader) Damage() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream == nil || r.stream.failed != nil {
		return nil
	}
	return r.stream.fail(r.stream.complete())
}

// Position tells where a stream has an extent, by the numbers of the file and of the
// byte: contents must be asked for in this order. ok is false if it cannot be had from
// there at all. In a directory everything is at the same place.
func (r *Reader) Position(e specs.Extent) (at [2]uint64, ok bool) {
	if r.stream == nil {
		return at, true
	}
	if e.Count*uint64(r.header.PageSize) > MaxAppend {
		return at, false
	}
	return r.stream.position(pagesName(e.File), e.Offset)
}

// MemberPosition is Position for a byte of a member.
func (r *Reader) MemberPosition(name string, offset int64) (at [2]uint64, ok bool) {
	if r.stream == nil {
		return at, true
	}
	return r.stream.position(name, uint64(offset))
}

// Extents gives the bytes of extents to f, each as the pages from start on, in pieces of
// at most MaxAppend bytes. The bytes are f's until it returns.
func (r *Reader) Extents(list []specs.Extent, f func(start uint64, b []byte) error) error {
	if r.stream != nil {
		return r.streamExtents(list, f)
	}
	var buffer []byte
	for _, e := range list {
		file, err := r.PagesFile(e.File)
		if err != nil {
			return err
		}
		for at, size := uint64(0), e.Count*uint64(r.header.PageSize); at < size; {
			n := min(size-at, MaxAppend)
			if uint64(len(buffer)) < n {
				buffer = make([]byte, n)
			}
			if _, err := file.ReadAt(buffer[:n], int64(e.Offset+at)); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			if err := f(e.Start+at, buffer[:n]); err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}

func (r *Reader) streamExtents(list []specs.Extent, f func(start uint64, b []byte) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream
	if err := s.begun(); err != nil {
		return err
	}
	for _, e := range list {
		size := e.Count * uint64(r.header.PageSize)
		if size > MaxAppend {
			return s.fail(ErrOrder)
		}
		if err := s.extent(e, s.buffer[:size]); err != nil {
			return s.fail(err)
		}
		if err := f(e.Start, s.buffer[:size]); err != nil {
			return err
		}
	}
	return nil
}

// Window is how many bytes of extents Load takes at a time; 0 is without a limit.
func (r *Reader) Window() uint64 {
	if r.stream == nil {
		return 0
	}
	return windowSize
}

// Load makes the bytes of extents readable in the files that PagesFile gives, and
// returns where they are there. A stream has one such file, the number 0, in which the
// next Load takes their place.
func (r *Reader) Load(list []specs.Extent) ([]specs.Extent, error) {
	if r.stream == nil {
		return list, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.load(list, int64(r.header.PageSize))
}

// Finish tells that all contents have been asked for: what is left of a stream is read
// and compared with its digests, to the last byte.
func (r *Reader) Finish() error {
	if r.stream == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.finish()
}

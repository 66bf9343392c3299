package image

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// Reader is an image that was read and found good. Its methods are safe for
// concurrent use. The records that it gives are shared between all who ask and
// must not be changed.
type Reader struct {
	// dir is nil for a stream, stream for a directory.
	dir    *directory
	stream *incoming
	*contents

	mu    sync.Mutex
	pages map[uint32]*os.File
}

// contents is what image.rt says.
type contents struct {
	// size is that of image.rt in bytes.
	size    int64
	header  *specs.Header
	entries []entry
	records []specs.Record
	byID    map[specs.ID]int
	members []specs.Member
	sizes   map[string]int64
}

// Open reads the image in dir. Everything in image.rt is checked and everything
// that it refers to is there in the right size; the bytes of the page and member
// files are not read (Verify does). Errors are ErrNotImage, ErrTruncated,
// ErrCorrupt and ErrVersion, with the place in an *Error.
func Open(dir string) (*Reader, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(path, specs.PartialSuffix) {
		return nil, bad(ErrNotImage, path, "a name in %s is that of an unfinished image", specs.PartialSuffix)
	}
	for {
		d, err := openDirectory(path)
		if err != nil {
			return nil, err
		}
		contents, err := load(d, true)
		if err == nil {
			return &Reader{dir: d, contents: contents, pages: make(map[uint32]*os.File)}, nil
		}
		replaced := !d.at(path)
		d.close()
		// A new image that took its place while we read explains what was
		// missing.
		if !replaced {
			return nil, err
		}
	}
}

// openDirectory opens the directory of an image.
func openDirectory(path string) (*directory, error) {
	file, err := os.OpenFile(path, unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, &Error{Kind: ErrNotImage, Path: path, Record: -1, Offset: -1, Err: errors.Unwrap(err)}
	}
	if err != nil {
		return nil, err
	}
	return &directory{file: file, path: path}, nil
}

// at tells whether path leads to d.
func (d *directory) at(path string) bool {
	byFD, err := d.file.Stat()
	if err != nil {
		return false
	}
	byName, err := os.Stat(path)
	return err == nil && os.SameFile(byFD, byName)
}

// load reads image.rt of d. With present set the files that it lists must be
// there; a stream is at that time still to bring them.
func load(d *directory, present bool) (*contents, error) {
	file, size, err := d.open(specs.ImageFile)
	if errors.Is(err, fs.ErrNotExist) {
		if is, err := d.sealed(); is || err != nil {
			return nil, errors.Join(err, bad(ErrSealed, d.path, "it has %s", specs.SealedFile))
		}
		return nil, bad(ErrNotImage, d.path, "it has no %s", specs.ImageFile)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s, err := scan(file, size, file.Name())
	if err != nil {
		return nil, err
	}
	c, err := newContents(s)
	if err != nil {
		return nil, err
	}
	if present {
		for _, m := range c.members {
			if err := d.present(m); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// present checks that the file m is there and has its size.
func (d *directory) present(m specs.Member) error {
	file, size, err := d.open(m.Name)
	path := filepath.Join(d.path, m.Name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &Error{Kind: ErrTruncated, Path: path, Record: -1, Offset: -1, Detail: "the file is missing", Err: fs.ErrNotExist}
		}
		return err
	}
	file.Close()
	if size < m.Size {
		return bad(ErrTruncated, path, "the file has %d bytes of %d", size, m.Size)
	}
	if size > m.Size {
		return bad(ErrCorrupt, path, "the file has %d bytes and should have %d", size, m.Size)
	}
	return nil
}

// Close gives all descriptors back, those of PagesFile too.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream != nil {
		return r.stream.stop()
	}
	for _, file := range r.pages {
		file.Close()
	}
	clear(r.pages)
	err := r.dir.close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Path is the directory of the image, "stream" without one.
func (r *Reader) Path() string {
	if r.dir == nil {
		return "stream"
	}
	return r.dir.path
}

// Header is the header of the image.
func (r *Reader) Header() *specs.Header { return r.header }

// Members lists the files beside image.rt with their sizes and digests.
func (r *Reader) Members() []specs.Member { return r.members }

// Record returns the record of object id, or ErrNoRecord.
func (r *Reader) Record(id specs.ID) (specs.Record, error) {
	i, ok := r.byID[id]
	if !ok {
		return nil, fmt.Errorf("%s: object %d: %w", r.Path(), id, ErrNoRecord)
	}
	return r.records[i], nil
}

// All goes through the records in the order of the file, the header first.
func (r *Reader) All() iter.Seq2[specs.ID, specs.Record] {
	return func(yield func(specs.ID, specs.Record) bool) {
		for i, record := range r.records {
			if !yield(r.entries[i].id, record) {
				return
			}
		}
	}
}

// Get returns the record of object id as a T; that it is something else is an
// error which names both types.
func Get[T specs.Record](r *Reader, id specs.ID) (T, error) {
	var none T
	record, err := r.Record(id)
	if err != nil {
		return none, fmt.Errorf("%v: %w", reflect.TypeFor[T](), err)
	}
	typed, ok := record.(T)
	if !ok {
		return none, &Error{Kind: ErrCorrupt, Path: r.Path(), Record: r.byID[id], Offset: r.entries[r.byID[id]].offset,
			Detail: fmt.Sprintf("object %d is a %T and should be a %v", id, record, reflect.TypeFor[T]())}
	}
	return typed, nil
}

// Each goes through the records that are a T in the order of the file.
func Each[T specs.Record](r *Reader) iter.Seq2[specs.ID, T] {
	return func(yield func(specs.ID, T) bool) {
		for id, record := range r.All() {
			if typed, ok := record.(T); ok && !yield(id, typed) {
				return
			}
		}
	}
}

// PagesFile is the pages file n, opened for reading once for all who ask. It is
// the reader's to close, and to be read with ReadAt. What a stream has as such Load tells.
func (r *Reader) PagesFile(n uint32) (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream != nil {
		if n != 0 {
			return nil, fmt.Errorf("stream: %s cannot be read as a file: %w", pagesName(n), ErrOrder)
		}
		return r.stream.windowFile()
	}
	if file, ok := r.pages[n]; ok {
		return file, nil
	}
	file, err := r.Member(pagesName(n))
	if err != nil {
		return nil, err
	}
	r.pages[n] = file
	return file, nil
}

// Member opens the file name of the image for reading. It is the caller's to
// close. A stream has no files (Contents).
func (r *Reader) Member(name string) (*os.File, error) {
	want, ok := r.sizes[name]
	if !ok || r.dir == nil {
		return nil, fmt.Errorf("%s: file %.100q: %w", r.Path(), name, ErrNoRecord)
	}
	file, size, err := r.dir.open(name)
	if err != nil {
		return nil, err
	}
	if size != want {
		file.Close()
		return nil, bad(ErrCorrupt, filepath.Join(r.dir.path, name), "the file has %d bytes and had %d", size, want)
	}
	return file, nil
}

package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sync"

	"github.com/rethaw/rethaw/specs"
)

// flushAt is how many bytes of records gather in memory before they are written.
const flushAt = 1 << 20

// Writer makes one image. Its methods are safe for concurrent use, but Seal,
// Commit and Abort must not run beside others.
type Writer struct {
	store    store
	payloads *payloads
	durable  bool
	hasty    bool
	// unchecked lets nonsense through.
	unchecked bool
	// records is image.rt.
	records recordFile

	mu      sync.Mutex
	failed  error
	sealed  bool
	closed  bool
	header  []byte  // its record, until it is written
	begun   bool    // the prologue and the header are in the file
	buffer  []byte  // records that are not in the file yet
	entries []entry // of all records but the header
	first   entry   // of the header
	pending int     // entries from here on have offsets within buffer
	size    int64   // bytes in the file
	ids     map[specs.ID]specs.Type
	refs    *references
	named   []string // members that records name
	pages   []*Pages
}

// Option changes what Create does.
type Option func(*Writer)

// WithoutSync leaves out every fsync: a crash of the machine shortly after Commit
// may cost the image. What is left of one then is found damaged by Open or Verify,
// never restored from.
func WithoutSync() Option { return func(w *Writer) { w.durable = false } }

// WithHaste has the disk begin to write while contents are still coming. The image is on stable storage
// sooner, by a tenth to a fifth, and what is to be saved is read as much later: it is for who waits for Commit with
// everything standing still.
func WithHaste() Option { return func(w *Writer) { w.hasty = true } }

// WithoutChecks lets Put take records that a reader will refuse, which is for tests of
// readers.
func WithoutChecks() Option { return func(w *Writer) { w.unchecked = true } }

// Create begins an image that Commit will put at dir. It makes dir.partial, mode
// 0700, after removing what a dead writer left there, and fails with ErrBusy if a
// living one has it. dir itself may be absent, empty, or a whole image, which
// Commit replaces; anything else is ErrOccupied. Nothing of the container is needed
// for it, so it is best called before the stop. The caller ends with Commit or
// Abort, and may always defer Abort.
func Create(dir string, options ...Option) (*Writer, error) {
	d, err := newDirectoryStore(dir)
	if err != nil {
		return nil, full(fmt.Errorf("create image: %w", err))
	}
	w, err := newWriter(d, d.records)
	if err != nil {
		return nil, errors.Join(err, d.abort())
	}
	for _, option := range options {
		option(w)
	}
	if w.hasty && w.durable {
		d.haste = &haste{syncs: map[string]*syncing{}}
	}
	return w, nil
}

func newWriter(s store, records recordFile) (*Writer, error) {
	payloads, err := newPayloads()
	if err != nil {
		return nil, err
	}
	return &Writer{
		store: s, payloads: payloads, records: records, durable: true,
		ids: make(map[specs.ID]specs.Type), refs: newReferences(),
	}, nil
}

// Path is where the image will be after Commit, "stream" for one that goes into a
// stream.
func (w *Writer) Path() string { return w.store.path() }

// Ordered tells that the image is read front to back: first what Fill has written, then
// the pages files by their numbers. Who restores it needs the contents of files and of
// shared memory before those of address spaces, and these in the order in which the
// tasks are made.
func (w *Writer) Ordered() bool { return w.store.ordered() }

// Put adds the record r of object id. Each ID but 0 stands for one object; 0 is
// for records that no other refers to. The one Header must be put once, best
// first, as it stands first in the file and all others wait in memory for it.
// Extents must lie within what Pages.Allocate gave. After a failure of the disk
// every further call returns it.
func (w *Writer) Put(id specs.ID, r specs.Record) error {
	if err := w.put(id, r); err != nil {
		return fmt.Errorf("put %s %d: %w", typeName(r), id, err)
	}
	return nil
}

func (w *Writer) put(id specs.ID, r specs.Record) error {
	if err := checkType(r); err != nil {
		return err
	}
	// What a reader would refuse must not be found out when the image is needed.
	if !w.unchecked {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	payload, err := w.payloads.encode(r)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	page := os.Getpagesize()
	if err := checkExtents(r, int64(page), w.allocated); err != nil {
		return err
	}
	kind := r.RecordType()
	if header, ok := r.(*specs.Header); ok {
		if int(header.PageSize) != page {
			return fmt.Errorf("a page size of %d bytes, and it is %d", header.PageSize, page)
		}
		if w.first.kind != 0 {
			return errors.New("the image has a header already")
		}
		w.first = entry{kind: kind, id: id, offset: specs.PrologueSize, length: int64(len(payload))}
	}
	if id != 0 {
		if other, ok := w.ids[id]; ok {
			return fmt.Errorf("the ID is taken by a record of type %d", other)
		}
		w.ids[id] = kind
	}
	w.refs.add(id, r)
	if name := memberOf(r); name != "" {
		w.named = append(w.named, name)
	}
	if kind == specs.TypeHeader {
		w.header = appendRecord(nil, kind, id, payload)
	} else {
		w.entries = append(w.entries, entry{kind: kind, id: id, offset: int64(len(w.buffer)), length: int64(len(payload))})
		w.buffer = appendRecord(w.buffer, kind, id, payload)
	}
	if len(w.buffer) >= flushAt && w.first.kind != 0 {
		return w.flush()
	}
	return nil
}

// checkType refuses a record that package specs does not make for its own type.
func checkType(r specs.Record) error {
	if r == nil {
		return errors.New("no record")
	}
	if v := reflect.ValueOf(r); v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("%T is not a pointer to a record", r)
	}
	known, err := specs.New(r.RecordType())
	if err != nil {
		return err
	}
	if reflect.TypeOf(known) != reflect.TypeOf(r) {
		return fmt.Errorf("%T says that it is a %T", r, known)
	}
	return nil
}

// usable tells why nothing can be added. The caller holds mu.
func (w *Writer) usable() error {
	switch {
	case w.failed != nil:
		return w.failed
	case w.sealed, w.closed:
		return ErrClosed
	}
	return nil
}

// flush writes the records that are in memory; the header must be among them or
// in the file. The caller holds mu.
func (w *Writer) flush() error {
	if !w.begun {
		if err := w.append(append(appendPrologue(nil), w.header...)); err != nil {
			return err
		}
		w.begun, w.header = true, nil
	}
	for i := range w.entries[w.pending:] {
		w.entries[w.pending+i].offset += w.size
	}
	w.pending = len(w.entries)
	if err := w.append(w.buffer); err != nil {
		return err
	}
	w.buffer = w.buffer[:0]
	return nil
}

// append writes b at the end of image.rt. The caller holds mu.
func (w *Writer) append(b []byte) error {
	if _, err := w.records.WriteAt(b, w.size); err != nil {
		w.failed = full(err)
		return w.failed
	}
	w.size += int64(len(b))
	return nil
}

// Fill makes a file of the given name in the image, for contents that are no
// records. Names are 1 to 64 of a-z, 0-9, ".", "-" and "_", a letter first, and
// not those of the records or of pages files. write gives the contents; a stream calls
// it once more while the image is sealed, and it must give the same then.
func (w *Writer) Fill(name string, write func(io.Writer) error) error {
	if err := w.fillable(name); err != nil {
		return err
	}
	if err := w.store.fill(name, write); err != nil {
		return full(fmt.Errorf("member %q: %w", name, err))
	}
	return nil
}

// Member makes a file as Fill does, for the caller to write until Seal; closing it is
// allowed, Commit and Abort close it too. Only a directory has such files.
func (w *Writer) Member(name string) (*os.File, error) {
	if err := w.fillable(name); err != nil {
		return nil, err
	}
	d, ok := w.store.(*directoryStore)
	if !ok {
		return nil, fmt.Errorf("member %q: a stream has no files (use Fill)", name)
	}
	file, err := d.member(name)
	if err != nil {
		return nil, full(fmt.Errorf("member %q: %w", name, err))
	}
	return file, nil
}

// fillable tells why no member of that name can be made.
func (w *Writer) fillable(name string) error {
	if _, ok := pagesNumber(name); ok {
		return fmt.Errorf("member %q: the name is kept for page data", name)
	}
	if err := checkMember(name); err != nil {
		return fmt.Errorf("member: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return fmt.Errorf("member %q: %w", name, err)
	}
	return nil
}

// Abort removes what was written, or after Commit the image that was replaced; where
// that fails it stands in DIR.partial until the next writer comes. A second call does
// nothing.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeFiles()
	return w.store.abort()
}

// closeFiles gives back the descriptors of the files. The caller holds mu.
func (w *Writer) closeFiles() {
	if w.closed {
		return
	}
	w.closed = true
	w.store.closeFiles()
	w.buffer, w.header = nil, nil
}

package pax

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Writer writes an archive. Header is followed by as many bytes of data as the
// header's ranges have, in order.
type Writer struct {
	w io.Writer
	// n counts what was written, left what is missing of the present entry.
	n, left int64
	entries int64
}

// NewWriter makes a Writer to w, which is best buffered.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Written is how many bytes the archive has so far, Entries how many files.
func (w *Writer) Written() int64 { return w.n }

// Entries is how many files the archive has so far.
func (w *Writer) Entries() int64 { return w.entries }

// Write writes data of the present entry.
func (w *Writer) Write(b []byte) (int, error) {
	if int64(len(b)) > w.left {
		return 0, fmt.Errorf("write to archive: %w", io.ErrShortWrite)
	}
	n, err := w.w.Write(b)
	w.n, w.left = w.n+int64(n), w.left-int64(n)
	if err == nil && w.left == 0 {
		err = w.pad()
	}
	return n, err
}

// pad fills the present block with zeros.
func (w *Writer) pad() error {
	if tail := w.n % blockSize; tail != 0 {
		n, err := w.w.Write(make([]byte, blockSize-tail))
		w.n += int64(n)
		return err
	}
	return nil
}

// Header begins an entry. Without data it is the whole entry.
func (w *Writer) Header(h *Header) error {
	if w.left > 0 {
		return fmt.Errorf("write to archive: %d bytes of data are missing: %w", w.left, io.ErrUnexpectedEOF)
	}
	name, sparse := h.Name, ""
	if h.Sparse {
		sparse = sparseMap(h.Data)
		name = path.Join(path.Dir(name), "GNUSparseFile.0", path.Base(name))
	}
	size := int64(0)
	if h.Type == Regular {
		size = int64(len(sparse)) + h.dataSize()
	}
	records := h.records(name, size)
	if err := w.raw(fixed("././@PaxHeader", extended, int64(len(records)), h), records); err != nil {
		return err
	}
	kind := h.Type
	if ownTypes[kind] != "" {
		kind = Regular
	}
	if err := w.raw(fixed(name, kind, size, h), sparse); err != nil {
		return err
	}
	w.entries++
	w.left = size - int64(len(sparse))
	return nil
}

// dataSize is how many bytes of data follow the header.
func (h *Header) dataSize() int64 {
	if h.Type != Regular {
		return 0
	}
	if !h.Sparse {
		return h.Size
	}
	n := int64(0)
	for _, r := range h.Data {
		n += r.Size
	}
	return n
}

// raw writes a block and what follows it.
func (w *Writer) raw(block []byte, rest string) error {
	n, err := w.w.Write(append(block, rest...))
	w.n += int64(n)
	if err != nil {
		return err
	}
	return w.pad()
}

// Close ends the archive with two blocks of zeros.
func (w *Writer) Close() error {
	if w.left > 0 {
		return fmt.Errorf("write to archive: %d bytes of data are missing: %w", w.left, io.ErrUnexpectedEOF)
	}
	return w.raw(make([]byte, 2*blockSize), "")
}

// records are those of the extended header.
func (h *Header) records(name string, size int64) string {
	var b strings.Builder
	add := func(key, value string) { b.WriteString(record(key, value)) }
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Link) {
		add(keyCharset, "BINARY")
	}
	if !fits(name, 100) {
		add(keyPath, name)
	}
	if !fits(h.Link, 100) {
		add(keyLink, h.Link)
	}
	if octalBits(uint64(size)) > 33 {
		add(keySize, strconv.FormatInt(size, 10))
	}
	if octalBits(uint64(h.UID)) > 21 {
		add(keyUID, strconv.FormatUint(uint64(h.UID), 10))
	}
	if octalBits(uint64(h.GID)) > 21 {
		add(keyGID, strconv.FormatUint(uint64(h.GID), 10))
	}
	add(keyMtime, formatTime(h.Mtime))
	add(keyAtime, formatTime(h.Atime))
	for _, x := range h.Xattrs {
		add(keyXattr+escape.Replace(x.Name), x.Value)
	}
	if h.Sparse {
		add(keyMajor, "1")
		add(keyMinor, "0")
		add(keySparseName, h.Name)
		add(keyRealSize, strconv.FormatInt(h.Size, 10))
	}
	if own := ownTypes[h.Type]; own != "" {
		add(keyType, own)
	}
	if h.Mountpoint {
		add(keyMountpoint, "1")
	}
	if h.Full {
		add(keyFull, "1")
	}
	if h.Opaque {
		add(keyOpaque, "1")
	}
	if h.Flags != 0 {
		add(keyFlags, strconv.FormatUint(uint64(h.Flags), 16))
	}
	return b.String()
}

// fits tells whether a text can stand in a field of the fixed header.
func fits(s string, size int) bool {
	for i := range len(s) {
		if s[i] == 0 || s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return len(s) <= size
}

func octalBits(v uint64) (n int) {
	for ; v != 0; v >>= 1 {
		n++
	}
	return n
}

// sparseMap is the map of the format 1.0 of GNU tar, in whole blocks.
func sparseMap(data []Range) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", len(data))
	for _, r := range data {
		fmt.Fprintf(&b, "%d\n%d\n", r.Start, r.Size)
	}
	if tail := b.Len() % blockSize; tail != 0 {
		b.WriteString(strings.Repeat("\x00", blockSize-tail))
	}
	return b.String()
}

// fixed is the header of POSIX.1-1988 (ustar). What does not fit it stands in
// a record.
func fixed(name string, kind byte, size int64, h *Header) []byte {
	b := make([]byte, blockSize, 4*blockSize)
	octal := func(at, digits int, v uint64) {
		if octalBits(v) <= 3*digits {
			copy(b[at:], fmt.Sprintf("%0*o", digits, v))
		}
	}
	if !fits(name, 100) {
		name = name[:min(len(name), 100)]
	}
	copy(b, name)
	octal(100, 7, uint64(h.Mode&0o7777))
	octal(108, 7, uint64(h.UID))
	octal(116, 7, uint64(h.GID))
	octal(124, 11, uint64(size))
	octal(136, 11, uint64(max(h.Mtime/1e9, 0)))
	b[156] = kind
	if kind == HardLink || kind == Symlink {
		copy(b[157:257], h.Link)
	}
	copy(b[257:], "ustar\x0000")
	octal(329, 7, uint64(h.Major))
	octal(337, 7, uint64(h.Minor))
	copy(b[148:], "        ")
	sum := uint64(0)
	for _, c := range b {
		sum += uint64(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

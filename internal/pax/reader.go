package pax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Reader reads an archive, or a part of one that begins and ends with an entry.
type Reader struct {
	r       io.ReaderAt
	at, end int64
}

// NewReader reads from offset start of r up to end.
func NewReader(r io.ReaderAt, start, end int64) *Reader { return &Reader{r, start, end} }

// Entry is a file of an archive that is read.
type Entry struct {
	Header
	// At is where the archive has the file's data: the ranges, one after the other.
	At int64
}

// Next gives the next entry, io.EOF at the end. An error of the archive's form
// answers to ErrFormat.
func (r *Reader) Next() (*Entry, error) {
	records := map[string]string{}
	xattrs := []Xattr(nil)
	for {
		block, err := r.block()
		if err != nil {
			return nil, err
		}
		size, err := number(block[124:136])
		if err != nil {
			return nil, err
		}
		if block[156] == extended {
			if len(records) > 0 || size > maxRecords {
				return nil, fmt.Errorf("%w: bad extended header", ErrFormat)
			}
			if xattrs, err = r.readRecords(size, records); err != nil {
				return nil, err
			}
			continue
		}
		e, err := r.entry(block, size, records)
		if err != nil {
			return nil, err
		}
		e.Xattrs = xattrs
		return e, nil
	}
}

// block reads the next header, which must have its sum.
func (r *Reader) block() ([]byte, error) {
	if r.at >= r.end {
		return nil, io.EOF
	}
	b := make([]byte, blockSize)
	if err := r.read(b); err != nil {
		return nil, err
	}
	if bytes.Equal(b, make([]byte, blockSize)) {
		r.at = r.end
		return nil, io.EOF
	}
	want, err := number(b[148:156])
	if err != nil || string(b[257:262]) != "ustar" {
		return nil, fmt.Errorf("%w: no header at offset %d", ErrFormat, r.at-blockSize)
	}
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	if sum != want {
		return nil, fmt.Errorf("%w: the header at offset %d has another sum", ErrFormat, r.at-blockSize)
	}
	return b, nil
}

// read fills b with what comes next.
func (r *Reader) read(b []byte) error {
	if int64(len(b)) > r.end-r.at {
		return ErrTruncated
	}
	n, err := r.r.ReadAt(b, r.at)
	r.at += int64(n)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = ErrTruncated
	}
	return err
}

// readRecords reads the records of an extended header.
func (r *Reader) readRecords(size int64, records map[string]string) ([]Xattr, error) {
	if size > r.end-r.at {
		return nil, ErrTruncated
	}
	b := make([]byte, size)
	if err := r.read(b); err != nil {
		return nil, err
	}
	r.at = roundUp(r.at, size)
	var xattrs []Xattr
	for len(b) > 0 {
		key, value, rest, err := cutRecord(b)
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutPrefix(key, keyXattr); ok {
			xattrs = append(xattrs, Xattr{unescape.Replace(name), value})
		} else {
			records[key] = value
		}
		b = rest
	}
	return xattrs, nil
}

// roundUp moves from the end of size bytes to the end of their last block.
func roundUp(at, size int64) int64 { return at + (blockSize-size%blockSize)%blockSize }

// entry puts together what the fixed header and the records say, and goes on
// behind the data.
func (r *Reader) entry(b []byte, size int64, records map[string]string) (*Entry, error) {
	e := &Entry{}
	e.Name, e.Link, e.Type = text(b[:100]), text(b[157:257]), b[156]
	fields := []struct {
		at, end int
		key     string
		to      func(int64)
	}{
		{100, 108, "", func(v int64) { e.Mode = uint32(v) }},
		{108, 116, keyUID, func(v int64) { e.UID = uint32(v) }},
		{116, 124, keyGID, func(v int64) { e.GID = uint32(v) }},
		{124, 136, keySize, func(v int64) { size = v }},
		{329, 337, "", func(v int64) { e.Major = uint32(v) }},
		{337, 345, "", func(v int64) { e.Minor = uint32(v) }},
	}
	for _, f := range fields {
		v, err := number(b[f.at:f.end])
		if value, ok := records[f.key]; ok && f.key != "" {
			v, err = decimal(value)
		}
		if err != nil {
			return nil, err
		}
		f.to(v)
	}
	if err := e.apply(records); err != nil {
		return nil, err
	}
	if size < 0 || size > r.end-r.at || (e.Type != Regular && size != 0) {
		return nil, fmt.Errorf("%w: %s has a bad size", ErrFormat, e.Name)
	}
	next := roundUp(r.at+size, size)
	e.Size = size
	if records[keyMajor] != "" {
		if err := r.sparse(e, size, records); err != nil {
			return nil, err
		}
	}
	e.At, r.at = r.at, next
	return e, e.check()
}

// apply takes over what the records say.
func (e *Entry) apply(records map[string]string) error {
	for key, to := range map[string]*string{keyPath: &e.Name, keyLink: &e.Link} {
		if value, ok := records[key]; ok {
			*to = value
		}
	}
	for key, to := range map[string]*int64{keyMtime: &e.Mtime, keyAtime: &e.Atime} {
		if value, ok := records[key]; ok {
			var err error
			if *to, err = parseTime(value); err != nil {
				return err
			}
		}
	}
	if flags, ok := records[keyFlags]; ok {
		v, err := strconv.ParseUint(flags, 16, 32)
		if err != nil {
			return fmt.Errorf("%w: bad flags %q", ErrFormat, flags)
		}
		e.Flags = uint32(v)
	}
	e.Mountpoint, e.Full, e.Opaque = records[keyMountpoint] != "", records[keyFull] != "", records[keyOpaque] != ""
	for kind, own := range ownTypes {
		if e.Type == Regular && records[keyType] == own {
			e.Type = kind
		}
	}
	return nil
}

// sparse reads the map of a file with holes, which comes before its data.
func (r *Reader) sparse(e *Entry, size int64, records map[string]string) error {
	var err error
	if records[keyMajor] != "1" || records[keyMinor] != "0" || e.Type != Regular {
		return fmt.Errorf("%w: %s has holes in another format", ErrFormat, e.Name)
	}
	e.Name = records[keySparseName]
	if e.Size, err = decimal(records[keyRealSize]); err != nil {
		return err
	}
	e.Sparse = true
	end := r.at + size
	var buf []byte
	next := func() (int64, error) {
		for {
			if i := bytes.IndexByte(buf, '\n'); i >= 0 {
				v, err := decimal(string(buf[:i]))
				buf = buf[i+1:]
				return v, err
			}
			if r.at+blockSize > end || len(buf) > blockSize {
				return 0, fmt.Errorf("%w: the map of %s is too short", ErrFormat, e.Name)
			}
			block := make([]byte, blockSize)
			if err := r.read(block); err != nil {
				return 0, err
			}
			buf = append(slices.Clone(buf), block...)
		}
	}
	n, err := next()
	if err != nil {
		return err
	}
	if n > maxRanges {
		return fmt.Errorf("%w: the map of %s has %d parts", ErrFormat, e.Name, n)
	}
	at, total := int64(0), int64(0)
	for range n {
		var d Range
		if d.Start, err = next(); err != nil {
			return err
		}
		if d.Size, err = next(); err != nil {
			return err
		}
		if d.Start < at || d.Size > e.Size-d.Start {
			return fmt.Errorf("%w: the map of %s is not in order", ErrFormat, e.Name)
		}
		at, total = d.Start+d.Size, total+d.Size
		e.Data = append(e.Data, d)
	}
	if total != end-r.at {
		return fmt.Errorf("%w: the map of %s does not fit its data", ErrFormat, e.Name)
	}
	return nil
}

// check refuses names that could lead out of a directory.
func (e *Entry) check() error {
	if !strings.ContainsRune("0123456sw", rune(e.Type)) {
		return fmt.Errorf("%w: %s is of the type %q", ErrFormat, e.Name, e.Type)
	}
	if !validName(e.Name) || (e.Type == HardLink && (!validName(e.Link) || e.Link == ".")) || strings.ContainsRune(e.Link, 0) {
		return fmt.Errorf("%w: bad name %q", ErrFormat, e.Name)
	}
	return nil
}

func validName(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return false
		}
	}
	return true
}

// text is a field up to its end or the first zero.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// number reads an octal field; an empty one is 0.
func number(b []byte) (int64, error) {
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseUint(s, 8, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: bad number %q", ErrFormat, s)
	}
	return int64(v), nil
}

func decimal(s string) (int64, error) {
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: bad number %q", ErrFormat, s)
	}
	return int64(v), nil
}

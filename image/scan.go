package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"github.com/rethaw/rethaw/specs"
)

// scanner goes through image.rt from its first byte to its last and decodes what
// it finds. Nothing is allocated on the word of a length that the size of the file
// does not bear out.
type scanner struct {
	path     string
	file     io.ReaderAt
	size     int64
	source   *bufio.Reader
	payloads *payloads

	hash    hash.Hash // of all before the digest
	offset  int64     // of the record being read
	buffer  []byte
	entries []entry
	records []specs.Record // nil for framing records
	members *specs.Members
	index   []entry
	indexAt int64
}

// scan reads image.rt of size bytes; path is for errors.
func scan(file io.ReaderAt, size int64, path string) (*scanner, error) {
	payloads, err := newPayloads()
	if err != nil {
		return nil, err
	}
	s := &scanner{
		path: path, file: file, size: size, payloads: payloads, hash: sha256.New(),
		source: bufio.NewReaderSize(io.NewSectionReader(file, 0, size), int(min(size, 256<<10))),
	}
	if err := s.prologue(); err != nil {
		return nil, err
	}
	for {
		last, err := s.record()
		if err != nil {
			return nil, err
		}
		if last {
			return s, nil
		}
	}
}

// fail makes the error for the record being read.
func (s *scanner) fail(kind error, cause error, format string, args ...any) error {
	return &Error{Kind: kind, Path: s.path, Record: len(s.entries), Offset: s.offset, Detail: fmt.Sprintf(format, args...), Err: cause}
}

// prologue checks that this is an image and of a version that we know.
func (s *scanner) prologue() error {
	b := make([]byte, specs.PrologueSize)
	n, err := io.ReadFull(s.source, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		if n > 0 && n <= len(specs.Magic) && string(b[:n]) == specs.Magic[:n] || n > len(specs.Magic) && string(b[:len(specs.Magic)]) == specs.Magic {
			return bad(ErrTruncated, s.path, "%d bytes are less than its beginning", n)
		}
		return bad(ErrNotImage, s.path, "the file has %d bytes", n)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if string(b[:len(specs.Magic)]) != specs.Magic {
		return bad(ErrNotImage, s.path, "it begins with %q", b[:len(specs.Magic)])
	}
	major, minor := binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint16(b[10:])
	if major != specs.FormatVersion {
		return bad(ErrVersion, s.path, "version %d.%d, and this program reads %d", major, minor, specs.FormatVersion)
	}
	if reserved := binary.LittleEndian.Uint32(b[12:]); reserved != 0 {
		return bad(ErrCorrupt, s.path, "reserved bytes are %#x, not 0", reserved)
	}
	s.hash.Write(b)
	s.offset = int64(len(b))
	return nil
}

// record reads the next record and tells whether it was the last.
func (s *scanner) record() (last bool, err error) {
	var header [specs.RecordHeaderSize]byte
	left := s.size - s.offset
	if left < frameSize(0) {
		return false, s.fail(ErrTruncated, nil, "%d bytes are left and the file has no digest yet", left)
	}
	if _, err := io.ReadFull(s.source, header[:]); err != nil {
		return false, s.fail(ErrTruncated, err, "read its header")
	}
	e, length := parseRecordHeader(header[:])
	e.offset = s.offset
	if length > specs.MaxPayload || frameSize(int64(length)) > left {
		return false, s.fail(s.tooLong(), nil, "it says that it has %d bytes, and %d are left", length, left)
	}
	e.length = int64(length)
	body, err := s.body(frameSize(e.length) - specs.RecordHeaderSize)
	if err != nil {
		return false, s.fail(ErrTruncated, err, "read its payload")
	}
	sum := crc32.Update(crc32.Checksum(header[:], castagnoli()), castagnoli(), body[:len(body)-specs.RecordSumSize])
	if want := binary.LittleEndian.Uint32(body[len(body)-specs.RecordSumSize:]); sum != want {
		return false, s.fail(ErrCorrupt, nil, "its CRC32C is %#08x, and %#08x is written there", sum, want)
	}
	if e.flags != 0 {
		return false, s.fail(ErrVersion, nil, "it has flags %#x, which this program does not know", e.flags)
	}
	padding := body[e.length : len(body)-specs.RecordSumSize]
	if slices.ContainsFunc(padding, func(b byte) bool { return b != 0 }) {
		return false, s.fail(ErrCorrupt, nil, "its padding is not zero")
	}
	if e.kind == specs.TypeDigest {
		return true, s.last(e, body[:e.length])
	}
	s.hash.Write(header[:])
	s.hash.Write(body)
	if err := s.take(e, body[:e.length]); err != nil {
		return false, err
	}
	s.offset += frameSize(e.length)
	return false, nil
}

// body reads n bytes into the buffer, which grows with what the file gives.
func (s *scanner) body(n int64) ([]byte, error) {
	s.buffer = slices.Grow(s.buffer[:0], int(n))[:n]
	_, err := io.ReadFull(s.source, s.buffer)
	return s.buffer, err
}

// tooLong tells what a length that points beyond the end means: a file whose
// digest stands at its end has not lost its end.
func (s *scanner) tooLong() error {
	var tail [specs.RecordHeaderSize]byte
	if _, err := s.file.ReadAt(tail[:], s.size-frameSize(specs.DigestSize)); err != nil {
		return ErrTruncated
	}
	if e, length := parseRecordHeader(tail[:]); e.kind == specs.TypeDigest && length == specs.DigestSize {
		return ErrCorrupt
	}
	return ErrTruncated
}

// take decodes a record that is not the digest. After the list of members only
// the index may come, after the index nothing.
func (s *scanner) take(e entry, payload []byte) error {
	switch {
	case s.index != nil, s.members != nil && e.kind != specs.TypeIndex, s.members == nil && e.kind == specs.TypeIndex:
		return s.fail(ErrCorrupt, nil, "a record of type %d has no place there", e.kind)
	case len(s.entries) == 0 && e.kind != specs.TypeHeader:
		return s.fail(ErrCorrupt, nil, "the first record has type %d and is not the header", e.kind)
	case len(s.entries) > 0 && e.kind == specs.TypeHeader:
		return s.fail(ErrCorrupt, nil, "a second header")
	case e.kind == specs.TypeIndex:
		return s.takeIndex(e, payload)
	}
	var r specs.Record = &specs.Members{}
	if e.kind == specs.TypeMembers {
		s.members = r.(*specs.Members)
	} else {
		var err error
		if r, err = specs.New(e.kind); err != nil {
			return s.fail(ErrVersion, err, "")
		}
	}
	if err := s.payloads.decode(payload, r); err != nil {
		if unknownField(err) {
			return s.fail(ErrVersion, err, "it holds something that this program does not know")
		}
		return s.fail(ErrCorrupt, err, "")
	}
	s.entries = append(s.entries, e)
	s.records = append(s.records, r)
	return nil
}

// takeIndex compares the index with the records that were found.
func (s *scanner) takeIndex(e entry, payload []byte) error {
	if !bytes.Equal(payload, appendIndex(nil, s.entries)) {
		return s.fail(ErrCorrupt, nil, "the index does not name the records that the file has")
	}
	s.index, s.indexAt = s.entries, e.offset
	return nil
}

// last checks the digest.
func (s *scanner) last(e entry, payload []byte) error {
	if e.length != specs.DigestSize || s.index == nil {
		return s.fail(ErrCorrupt, nil, "a digest has no place there")
	}
	d := parseDigest(payload)
	if end := e.offset + frameSize(e.length); d.size != uint64(s.size) || end != s.size {
		return s.fail(ErrCorrupt, nil, "the digest ends a file of %d bytes, and this one has %d", d.size, s.size)
	}
	if d.index != uint64(s.indexAt) || !bytes.Equal(d.sum[:], s.hash.Sum(nil)) {
		return s.fail(ErrCorrupt, nil, "the digest is not that of the file")
	}
	return nil
}

package pax

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/zeebo/xxh3"
)

// Stream reads an archive front to back out of a source that cannot seek. It takes
// no more of the source than the entries that it gave, so that another
// reader can go on behind the last one.
type Stream struct {
	Reader
	from *sequence
	size int64
	at   int64
	sum  [16]byte
}

// NewStream reads from what r has next.
func NewStream(r *bufio.Reader) *Stream {
	from := &sequence{r: r, hash: xxh3.New128()}
	return &Stream{Reader: Reader{r: from, end: math.MaxInt64}, from: from}
}

// Next is that of Reader, and gives up the data of the entry before.
func (s *Stream) Next() (*Entry, error) {
	if err := s.Finish(); err != nil {
		return nil, err
	}
	s.sum = s.from.hash.Sum128().Bytes()
	e, err := s.Reader.Next()
	if err != nil {
		return nil, err
	}
	s.at, s.size = e.At, e.dataSize()
	return e, nil
}

// Data is that of the entry that Next gave: its ranges, one after the other. It can be
// read once.
func (s *Stream) Data() io.Reader { return io.NewSectionReader(s.from, s.at, s.size) }

// Before is the XXH3 (128 bits) of all bytes before the entry that Next gave.
func (s *Stream) Before() [16]byte { return s.sum }

// Finish goes to the end of the present entry.
func (s *Stream) Finish() error {
	_, err := s.from.ReadAt(nil, s.Reader.at)
	if err == io.EOF {
		return ErrTruncated
	}
	return err
}

// sequence is a source that reads at growing offsets.
type sequence struct {
	r    *bufio.Reader
	at   int64
	hash *xxh3.Hasher128
}

// ReadAt implements io.ReaderAt for offsets that were not passed yet.
func (s *sequence) ReadAt(b []byte, at int64) (int, error) {
	if at < s.at {
		return 0, fmt.Errorf("read an archive's stream at %d, which is behind %d", at, s.at)
	}
	n, err := io.CopyN(s.hash, s.r, at-s.at)
	s.at += n
	if err != nil {
		return 0, short(err)
	}
	m, err := io.ReadFull(s.r, b)
	s.at += int64(m)
	s.hash.Write(b[:m])
	return m, short(err)
}

// short takes a stream that was cut off in the middle for one that ends.
func short(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

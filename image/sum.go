package image

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/xxh3"
)

// chunk is how many bytes are read at a time where whole files are gone through.
const chunk = 1 << 20

// Sum is the checksum of the bytes of an extent: XXH3 of 64 bits with seed 0. It
// guards against damage, not against an adversary.
func Sum(b []byte) uint64 { return xxh3.Hash(b) }

// sumFile returns the XXH3 of 128 bits of the first size bytes of file, and an
// error (io.ErrUnexpectedEOF) if it has fewer. moved is told of each piece done.
func sumFile(ctx context.Context, file io.ReaderAt, size int64, moved func(int64)) ([]byte, error) {
	hash := xxh3.New128()
	buffer := make([]byte, min(chunk, size))
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		piece := buffer[:min(chunk, size-offset)]
		n, err := file.ReadAt(piece, offset)
		if n < len(piece) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read at offset %d: %w", offset+int64(n), err)
		}
		hash.Write(piece)
		offset += int64(n)
		moved(int64(n))
	}
	sum := hash.Sum128().Bytes()
	return sum[:], nil
}

// runningSum is the digest of a member while it is written from its beginning to its end. Nil is one that is not
// computed.
type runningSum struct {
	mu     sync.Mutex
	hash   *xxh3.Hasher128
	size   int64
	broken bool
}

func newRunningSum() *runningSum { return &runningSum{hash: xxh3.New128()} }

// Write implements io.Writer, for what comes in order.
func (s *runningSum) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hash.Write(b)
	s.size += int64(len(b))
	return len(b), nil
}

// add is told that b goes to offset; if it does not go to where the last ended, the digest is lost.
func (s *runningSum) add(b []byte, offset int64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset != s.size {
		s.broken = true
	}
	if !s.broken {
		s.hash.Write(b)
		s.size += int64(len(b))
	}
}

// lose is called when bytes may come that the digest does not see.
func (s *runningSum) lose() {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = true
	}
}

// of is the digest of a member of size bytes, nil if it is not known.
func (s *runningSum) of(size int64) []byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken || s.size != size {
		return nil
	}
	sum := s.hash.Sum128().Bytes()
	return sum[:]
}

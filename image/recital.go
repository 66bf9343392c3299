package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// recital is a pages file of a stream before it is sent: what its bytes will be and
// where they are, for 24 bytes a piece.
type recital struct {
	hash    *xxh3.Hasher128
	sources []io.ReaderAt
	numbers map[io.ReaderAt]uint32
	pieces  []piece
}

// piece is a run of bytes of a source.
type piece struct {
	source, size uint32
	at           int64
	sum          uint64
}

func newRecital() *recital { return &recital{hash: xxh3.New128(), numbers: map[io.ReaderAt]uint32{}} }

// add appends the piece b, which is at offset at of from.
func (r *recital) add(b []byte, sum uint64, from io.ReaderAt, at int64) {
	r.hash.Write(b)
	number, known := r.numbers[from]
	if !known {
		number = uint32(len(r.sources))
		r.numbers[from], r.sources = number, append(r.sources, from)
	}
	r.pieces = append(r.pieces, piece{source: number, size: uint32(len(b)), at: at, sum: sum})
}

// sum is the digest of all bytes.
func (r *recital) sum() []byte {
	sum := r.hash.Sum128().Bytes()
	return sum[:]
}

// recite writes all bytes. They must be those that were added.
func (r *recital) recite(ctx context.Context, to io.Writer) error {
	buffer := make([]byte, MaxAppend)
	for _, p := range r.pieces {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		b := buffer[:p.size]
		if n, err := r.sources[p.source].ReadAt(b, p.at); n < len(b) {
			return fmt.Errorf("read %d bytes at %#x once more: got %d: %w", p.size, p.at, n, errors.Join(err, io.ErrUnexpectedEOF))
		}
		if Sum(b) != p.sum {
			return fmt.Errorf("%d bytes at %#x %w", p.size, p.at, errChanged)
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// errChanged: somebody outside of the container writes to its memory or files.
var errChanged = errors.New("changed while the tasks stood still: end what writes to them from outside, or checkpoint into a directory (--image)")

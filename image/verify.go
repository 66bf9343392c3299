package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/rethaw/rethaw/specs"
)

// Verify reads the whole image: image.rt once more, every other file against its
// digest, and every extent that has one against its sum, in parallel. progress,
// which may be nil, is told of the bytes read so far and of all that there are
// to read, one call at a time. The error is ErrCorrupt or ErrTruncated with the
// file, and for an extent with the address of the pages. A stream is read to its end
// (Finish).
func (r *Reader) Verify(ctx context.Context, progress func(done, total int64)) error {
	if r.dir == nil {
		return r.Finish()
	}
	if _, err := load(r.dir, true); err != nil {
		return err
	}
	v := &verification{reader: r, progress: progress}
	group, ctx := parallel(ctx)
	for _, m := range r.members {
		v.total += m.Size
	}
	for _, record := range r.records {
		for _, e := range extentsOf(record) {
			if e.Sum != 0 && !e.Inherit {
				v.total += int64(e.Count) * int64(r.header.PageSize)
			}
		}
	}
	for _, m := range r.members {
		group.Go(func() error { return v.member(ctx, m) })
	}
	for i, record := range r.records {
		if extents := extentsOf(record); len(extents) > 0 {
			group.Go(func() error { return v.extents(ctx, i, extents) })
		}
	}
	return group.Wait()
}

// verification is one run of Verify.
type verification struct {
	reader   *Reader
	total    int64
	progress func(done, total int64)

	mu   sync.Mutex
	done int64
}

// moved counts bytes that were read.
func (v *verification) moved(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += n
	if v.progress != nil {
		v.progress(v.done, v.total)
	}
}

// member compares one file with its digest.
func (v *verification) member(ctx context.Context, m specs.Member) error {
	file, err := v.reader.Member(m.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	sum, err := sumFile(ctx, file, m.Size, v.moved)
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	if !bytes.Equal(sum, m.Sum) {
		return bad(ErrCorrupt, file.Name(), "its XXH3 is %x and was %x", sum, m.Sum)
	}
	return nil
}

// extents compares the extents of record i with their sums.
func (v *verification) extents(ctx context.Context, i int, extents []specs.Extent) error {
	page := uint64(v.reader.header.PageSize)
	buffer := make([]byte, chunk)
	for _, e := range extents {
		if e.Inherit || e.Sum == 0 {
			continue
		}
		file, err := v.reader.PagesFile(e.File)
		if err != nil {
			return err
		}
		sum, err := v.extent(ctx, file, int64(e.Offset), int64(e.Count*page), buffer)
		if err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
		if sum != e.Sum {
			return &Error{Kind: ErrCorrupt, Path: file.Name(), Record: -1, Offset: int64(e.Offset),
				Detail: fmt.Sprintf("%d pages at %#x of %s %d: XXH3 %#016x, and it was %#016x",
					e.Count, e.Start, typeName(v.reader.records[i]), v.reader.entries[i].id, sum, e.Sum)}
		}
	}
	return nil
}

func (v *verification) extent(ctx context.Context, file *os.File, offset, length int64, buffer []byte) (uint64, error) {
	hash := xxh3.New()
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		piece := buffer[:min(int64(len(buffer)), length)]
		if _, err := file.ReadAt(piece, offset); err != nil {
			return 0, err
		}
		hash.Write(piece)
		offset += int64(len(piece))
		length -= int64(len(piece))
		v.moved(int64(len(piece)))
	}
	return hash.Sum64(), nil
}

package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/rethaw/rethaw/specs"
)

// Stats describes an image that was committed.
type Stats struct {
	// Records counts the records that were put; RecordBytes is the size of
	// image.rt in bytes.
	Records     int
	RecordBytes int64
	// PageBytes and MemberBytes are the sizes of the pages files and of all
	// other members.
	PageBytes   int64
	MemberBytes int64
	// Files counts the files of the image, image.rt among them.
	Files int
	// Replaced tells that an older image stood there.
	Replaced bool
}

// Seal ends the records: what was put is handed to the kernel, whole and
// consistent, and no more can come. From here on nothing of the container is
// needed, so it may run again; a stream has taken all bytes by then. Commit calls Seal
// if the caller has not.
func (w *Writer) Seal(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.seal(ctx); err != nil {
		return fmt.Errorf("seal image %s: %w", w.Path(), err)
	}
	return nil
}

func (w *Writer) seal(ctx context.Context) error {
	if w.sealed && w.failed == nil && !w.closed {
		return nil
	}
	if err := w.usable(); err != nil {
		return err
	}
	if w.first.kind == 0 {
		return errors.New("no header was put")
	}
	if err := w.refs.missing(w.ids); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.sealed = true
	if err := w.store.seal(ctx, w); err != nil {
		w.failed = err
		return err
	}
	return nil
}

// Commit closes the image and puts it in its place; the package comment has the
// steps. When it returns without an error, the image is whole, on stable storage
// and under its name; the image that it replaced is removed by Abort, so that nobody
// waits for that meanwhile. When it fails or ctx ends, DIR.partial is removed and what
// stood there before is as it was, but for a failure of the very last fsync, whose
// error says so. All files that the writer gave out are closed.
func (w *Writer) Commit(ctx context.Context) (Stats, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Stats{}, fmt.Errorf("commit image %s: %w", w.Path(), ErrClosed)
	}
	err := w.seal(ctx)
	var stats Stats
	if err == nil {
		stats, err = w.store.commit(ctx, w)
	}
	w.closeFiles()
	if err == nil {
		return stats, nil
	}
	err = full(fmt.Errorf("commit image %s: %w", w.Path(), err))
	if closing := w.store.abort(); closing != nil {
		err = fmt.Errorf("%w (and something is left behind: %w)", err, closing)
	}
	return Stats{}, err
}

// complete checks that the files which records name are among names.
func (w *Writer) complete(names []string) error {
	for _, name := range w.named {
		if !slices.Contains(names, name) {
			return fmt.Errorf("a record names the file %q, which was not written", name)
		}
	}
	return nil
}

// finish writes the records that close image.rt: members, index, digest.
func (w *Writer) finish(ctx context.Context, list *specs.Members) error {
	payload, err := w.payloads.encode(list)
	if err != nil {
		return err
	}
	all := append([]entry{w.first}, w.entries...)
	all = append(all, entry{kind: specs.TypeMembers, offset: w.size, length: int64(len(payload))})
	if err := w.append(appendRecord(nil, specs.TypeMembers, 0, payload)); err != nil {
		return err
	}
	index := appendIndex(make([]byte, 0, len(all)*specs.IndexEntrySize), all)
	if len(index) > specs.MaxPayload {
		return fmt.Errorf("%d records are more than an index can hold", len(all))
	}
	end := digest{index: uint64(w.size)}
	if err := w.append(appendRecord(nil, specs.TypeIndex, 0, index)); err != nil {
		return err
	}
	end.size = uint64(w.size + frameSize(specs.DigestSize))
	hash := sha256.New()
	if err := copyAll(ctx, hash, io.NewSectionReader(w.records, 0, w.size)); err != nil {
		return fmt.Errorf("%s: %w", w.records.Name(), err)
	}
	hash.Sum(end.sum[:0])
	return w.append(appendRecord(nil, specs.TypeDigest, 0, end.append(nil)))
}

// newStats counts what an image has.
func newStats(records int, size int64, members []specs.Member) Stats {
	stats := Stats{Records: records, RecordBytes: size, Files: len(members) + 1}
	for _, file := range members {
		if _, ok := pagesNumber(file.Name); ok {
			stats.PageBytes += file.Size
		} else {
			stats.MemberBytes += file.Size
		}
	}
	return stats
}

// copyAll is io.Copy that ctx ends.
func copyAll(ctx context.Context, to io.Writer, from io.Reader) error {
	buffer := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buffer)
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parallel is a group of at most one goroutine per processor.
func parallel(ctx context.Context) (*errgroup.Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	return group, ctx
}

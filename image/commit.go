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
// needed, so it may run again. Commit calls Seal if the caller has not.
func (w *Writer) Seal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.seal(); err != nil {
		return fmt.Errorf("seal image %s: %w", w.Path(), err)
	}
	return nil
}

func (w *Writer) seal() error {
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
	stats, err := w.commit(ctx)
	w.closeFiles()
	if err == nil {
		return stats, nil
	}
	err = full(fmt.Errorf("commit image %s: %w", w.Path(), err))
	path := w.partial.path
	if closing := w.partial.abort(); closing != nil {
		err = fmt.Errorf("%w (and %s is left behind: %w)", err, path, closing)
	}
	return stats, err
}

// syncEarly is how many bytes of pages and members are synced while their digests are
// computed. Fewer wait for image.rt, so that the journal is committed once.
const syncEarly = 16 << 20

func (w *Writer) commit(ctx context.Context) (Stats, error) {
	if err := w.seal(); err != nil {
		return Stats{}, err
	}
	names, err := w.partial.names()
	if err != nil {
		return Stats{}, err
	}
	set, err := openMembers(&w.partial.directory, names)
	if err != nil {
		return Stats{}, err
	}
	defer set.close()
	if w.durable {
		set.startWriteback(w.records)
	}
	for _, name := range w.named {
		if !slices.Contains(names, name) {
			return Stats{}, fmt.Errorf("a record names the file %q, which was not written", name)
		}
	}
	var early errgroup.Group
	if w.durable && set.total() >= syncEarly {
		early.Go(func() error { return set.sync() })
	}
	list, err := set.sum(ctx)
	if syncing := early.Wait(); err == nil {
		err = syncing
	}
	if err != nil {
		return Stats{}, err
	}
	if err := w.finish(ctx, list); err != nil {
		return Stats{}, err
	}
	stats := newStats(len(w.entries)+1, w.size, list.Files)
	if w.durable {
		if err := set.sync(w.records, w.partial.file); err != nil {
			return Stats{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	stats.Replaced, err = w.partial.publish(w.durable)
	return stats, err
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

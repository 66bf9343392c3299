package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rethaw/rethaw/specs"
)

// store is where a Writer puts an image: a directory or a stream.
type store interface {
	path() string
	// ordered is Writer.Ordered.
	ordered() bool
	// pages makes the pages file with this number.
	pages(number uint32) (*Pages, error)
	// fill makes a member.
	fill(name string, write func(io.Writer) error) error
	// seal takes what it still needs of the container, commit makes it an image.
	// The records of w are complete.
	seal(ctx context.Context, w *Writer) error
	commit(ctx context.Context, w *Writer) (Stats, error)
	// closeFiles gives back what was open for writing; abort removes what was not
	// committed and what a commit has left to be removed.
	closeFiles()
	abort() error
}

// recordFile is image.rt while it is written.
type recordFile interface {
	io.ReaderAt
	io.WriterAt
	Name() string
}

// directoryStore writes an image into DIR.partial.
type directoryStore struct {
	partial *partial
	records *os.File

	mu    sync.Mutex
	files []*os.File
	// sums are the digests of members that were computed while they were written.
	sums map[string]*runningSum
	// haste is nil without WithHaste.
	haste *haste
}

func newDirectoryStore(dir string) (*directoryStore, error) {
	p, err := newPartial(dir)
	if err != nil {
		return nil, err
	}
	records, err := p.create(specs.ImageFile)
	if err != nil {
		return nil, errors.Join(err, p.abort())
	}
	return &directoryStore{partial: p, records: records, sums: map[string]*runningSum{}}, nil
}

func (d *directoryStore) path() string {
	return filepath.Join(d.partial.parent.path, d.partial.base)
}

func (d *directoryStore) ordered() bool { return false }

func (d *directoryStore) pages(number uint32) (*Pages, error) {
	file, err := d.member(pagesName(number))
	if err != nil {
		return nil, err
	}
	sum := d.running(pagesName(number))
	return &Pages{file: file, number: number, sum: sum, haste: d.haste}, nil
}

// member makes a file.
func (d *directoryStore) member(name string) (*os.File, error) {
	file, err := d.partial.create(name)
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.files = append(d.files, file)
	}
	return file, err
}

// running begins the digest of a member, in haste. Else there is time for it while the disk is waited for, and who
// waits for the contents to be taken need not wait for that.
func (d *directoryStore) running(name string) *runningSum {
	if d.haste == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sums[name] = newRunningSum()
	return d.sums[name]
}

func (d *directoryStore) fill(name string, write func(io.Writer) error) error {
	file, err := d.member(name)
	if err != nil {
		return err
	}
	sum := d.running(name)
	if sum == nil {
		return errors.Join(write(file), file.Close())
	}
	err = write(io.MultiWriter(sum, file))
	if err == nil {
		// closeFiles closes it.
		d.haste.whole(name, file, sum.size)
	}
	return err
}

// seal has nothing to do: all bytes are in the page cache.
func (d *directoryStore) seal(context.Context, *Writer) error { return nil }

// syncEarly is how many bytes of pages and members are synced while their digests are
// computed. Fewer wait for image.rt, so that the journal is committed once.
const syncEarly = 16 << 20

func (d *directoryStore) commit(ctx context.Context, w *Writer) (Stats, error) {
	names, err := d.partial.names()
	if err != nil {
		return Stats{}, err
	}
	set, err := openMembers(&d.partial.directory, names)
	if err != nil {
		return Stats{}, err
	}
	defer set.close()
	set.haste = d.haste
	if w.durable && d.haste == nil {
		set.startWriteback(d.records)
	}
	if err := w.complete(names); err != nil {
		return Stats{}, err
	}
	var early errgroup.Group
	if w.durable && set.total() >= syncEarly {
		early.Go(func() error { return set.sync() })
		early.Go(func() error { d.partial.chill(); return nil })
	}
	list, err := set.sum(ctx, d.sums)
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
		if err := set.sync(d.records, d.partial.file); err != nil {
			return Stats{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	stats.Replaced, err = d.partial.publish(w.durable)
	return stats, err
}

func (d *directoryStore) closeFiles() {
	d.records.Close()
	for _, file := range d.files {
		file.Close()
	}
}

func (d *directoryStore) abort() error {
	if err := d.partial.abort(); err != nil {
		return fmt.Errorf("%s: %w", d.partial.path, err)
	}
	return nil
}

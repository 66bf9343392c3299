package image

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// members is the open files beside image.rt while an image is committed. They are
// opened by name once more, because who wrote them may have closed them.
type members struct {
	names []string
	files []*os.File
	sizes []int64
	// haste has synced some of them, nil for none.
	haste *haste
}

// openMembers opens all of names but image.rt.
func openMembers(d *directory, names []string) (*members, error) {
	m := &members{}
	for _, name := range names {
		if name == specs.ImageFile {
			continue
		}
		file, size, err := d.open(name)
		if err != nil {
			m.close()
			return nil, err
		}
		m.names = append(m.names, name)
		m.files = append(m.files, file)
		m.sizes = append(m.sizes, size)
	}
	return m, nil
}

// close gives the descriptors back.
func (m *members) close() {
	for _, file := range m.files {
		file.Close()
	}
}

// total is how many bytes they have together.
func (m *members) total() int64 {
	var sum int64
	for _, size := range m.sizes {
		sum += size
	}
	return sum
}

// startWriteback has the disk begin with what is in the page cache, without
// waiting for it. That it cannot is no error: the fsync later does all.
func (m *members) startWriteback(records *os.File) {
	for _, file := range append([]*os.File{records}, m.files...) {
		_ = unix.SyncFileRange(int(file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// sum computes the digests, but for those that are known already.
func (m *members) sum(ctx context.Context, known map[string]*runningSum) (*specs.Members, error) {
	list := &specs.Members{Files: make([]specs.Member, len(m.files))}
	group, ctx := parallel(ctx)
	for i, file := range m.files {
		if sum := known[m.names[i]].of(m.sizes[i]); sum != nil {
			list.Files[i] = specs.Member{Name: m.names[i], Size: m.sizes[i], Sum: sum}
			continue
		}
		group.Go(func() error {
			sum, err := sumFile(ctx, file, m.sizes[i], func(int64) {})
			if err != nil {
				return fmt.Errorf("%s: %w", file.Name(), err)
			}
			list.Files[i] = specs.Member{Name: m.names[i], Size: m.sizes[i], Sum: sum}
			return nil
		})
	}
	return list, group.Wait()
}

// sync waits until all files are on stable storage. They are synced at once, so
// that the filesystem can answer all with one commit of its journal.
func (m *members) sync(others ...*os.File) error {
	var group errgroup.Group
	group.SetLimit(16)
	sync := func(file *os.File) {
		group.Go(func() error {
			if err := file.Sync(); err != nil {
				return fmt.Errorf("sync %s: %w", file.Name(), err)
			}
			return nil
		})
	}
	for _, file := range others {
		sync(file)
	}
	var errs []error
	for i, file := range m.files {
		switch done, err := m.haste.synced(m.names[i], m.sizes[i]); {
		case err != nil:
			errs = append(errs, fmt.Errorf("sync %s: %w", file.Name(), err))
		case !done:
			sync(file)
		}
	}
	return errors.Join(append(errs, group.Wait())...)
}

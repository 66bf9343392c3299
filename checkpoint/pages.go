package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// pageJob is a run of pages to be written, at most chunk long.
type pageJob struct {
	p          *process
	m          *specs.Memory
	start, end uint64
	// zeros tells that pages of zeros count too: without them what is mapped
	// would show, a file.
	zeros bool
	// gentle tells that the pages may be shared with other tasks: they must not
	// be pinned, which would give this one its own copies.
	gentle bool
}

// foundPages are the pages of an address space that are to be written, how many pages were looked at, and how many
// are shared with the parent.
type foundPages struct {
	jobs            []pageJob
	scanned, shared int64
}

// findPages lists the pages of an address space that have contents of their
// own. Those that are shared copy-on-write with the parent are entered at once,
// as inherited.
func (d *dump) findPages(p *process, m *specs.Memory) (foundPages, error) {
	var found foundPages
	s, err := newScanner(p)
	if err != nil {
		return found, err
	}
	defer s.close()
	gentle := d.hasRelatives(p)
	c := newCOW(d, p, m)
	defer c.close()
	for i := range m.Areas {
		a := &m.Areas[i]
		if !hasPages(a) {
			continue
		}
		var inner error
		err := s.ranges(a.Start, a.End, a.Kind == "file" || a.Kind == "shm", func(start, end uint64, guard bool) {
			if guard {
				m.Guards = append(m.Guards, specs.Guard{Start: start, End: end})
				return
			}
			found.scanned += int64((end - start) / pageSize)
			if inner == nil {
				inner = c.split(a, start, end, func(start, end uint64) {
					for ; start < end; start += chunk {
						found.jobs = append(found.jobs, pageJob{p, m, start, min(start+chunk, end), a.File != 0, gentle || slices.Contains(a.Flags, "mg")})
					}
				})
			}
		})
		if err := errors.Join(err, inner); err != nil {
			return found, fmt.Errorf("mapping %x-%x: %w", a.Start, a.End, err)
		}
	}
	found.shared = c.shared
	return found, nil
}

// hasPages tells whether an area may have pages that stand nowhere else.
func hasPages(a *specs.Area) bool {
	if a.Shared {
		return false
	}
	switch a.Kind {
	case "anon", "heap", "stack", "file", "shm":
		return true
	}
	return false
}

// jobsAtOnce is how many jobs a writer takes at a time.
const jobsAtOnce = 8

// writePages writes all jobs, by as many writers as there are processors.
func (d *dump) writePages(ctx context.Context, jobs []pageJob) error {
	// A small tree is not worth a second file; a stream takes one page after the other.
	workers := min(runtime.GOMAXPROCS(0), 8, 1+len(jobs)/16)
	if d.out.Ordered() {
		workers = 1
	}
	var mu sync.Mutex
	if len(jobs) <= jobsAtOnce {
		// To hand it over would take longer.
		queue := make(chan []pageJob, 1)
		queue <- jobs
		close(queue)
		return d.pageWorker(queue, &mu)
	}
	queue := make(chan []pageJob)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for batch := range slices.Chunk(jobs, jobsAtOnce) {
			select {
			case queue <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			return d.pageWorker(queue, &mu)
		})
	}
	return g.Wait()
}

func byStart(a, b specs.Extent) int {
	switch {
	case a.Start < b.Start:
		return -1
	case a.Start > b.Start:
		return 1
	}
	return 0
}

func (d *dump) pageWorker(queue <-chan []pageJob, mu *sync.Mutex) error {
	var w *pagesWriter
	defer func() {
		if w != nil {
			w.close()
		}
	}()
	var counts pageCounts
	for batch := range queue {
		for _, j := range batch {
			if w == nil {
				var err error
				if w, err = d.data.take(); err != nil {
					return err
				}
			}
			b := w.buf[:j.end-j.start]
			if _, err := j.from().ReadAt(b, int64(j.start)); err != nil {
				return err
			}
			extents, err := w.job(&j, b, &counts)
			if err != nil {
				return err
			}
			mu.Lock()
			j.m.Pages = append(j.m.Pages, extents...)
			mu.Unlock()
		}
	}
	mu.Lock()
	d.stats.PagesWritten += counts.written
	d.stats.PagesZero += counts.zero
	mu.Unlock()
	return nil
}

// job writes the pages of one job, read into b.
func (w *pagesWriter) job(j *pageJob, b []byte, counts *pageCounts) ([]specs.Extent, error) {
	if !j.zeros {
		return w.append(j.start, b, j.from(), counts)
	}
	e, err := w.whole(j.start, b, j.from(), counts)
	return []specs.Extent{e}, err
}

// hasRelatives tells whether another process has been forked from this one, or
// both from one, with no program executed since.
func (d *dump) hasRelatives(p *process) bool {
	return slices.ContainsFunc(d.live(), func(o *process) bool {
		return o != p && o.memory != p.memory && o.stat.StartStack == p.stat.StartStack && o.stat.StartCode == p.stat.StartCode
	})
}

// taskMemory is the memory of a task, which is read at its addresses. gentle is as in
// pageJob.
type taskMemory struct {
	p      *process
	gentle bool
}

// from is where the pages of the job are.
func (j *pageJob) from() taskMemory { return taskMemory{j.p, j.gentle} }

// ReadAt implements io.ReaderAt. process_vm_readv(2) is fast, but it pins the
// pages, for which the kernel ends copy-on-write sharing
// (gup_must_unshare of mm/internal.h); /proc/PID/mem does not, and also reads what the
// task itself may not.
func (m taskMemory) ReadAt(b []byte, at int64) (int, error) {
	if !m.gentle {
		local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
		remote := []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}
		if n, err := unix.ProcessVMReadv(m.p.at, local, remote, 0); err == nil && n == len(b) {
			return n, nil
		}
	}
	n, err := m.p.mem.ReadAt(b, at)
	if err != nil {
		err = &Error{fmt.Sprintf("read memory at %x", at), m.p.nspid, err}
	}
	return n, err
}

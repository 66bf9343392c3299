package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func fifoKind() fileKind {
	return fileKind{
		record: &specs.FIFO{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			f := rec.(*specs.FIFO)
			return r.pipeEnd(id, pipeKey{f.Inode, f.Device}, r.makeFIFO)
		},
	}
}

// makeFIFO opens a named pipe as often as it was. One that was deleted is made
// again for as long as that takes.
func (r *restorer) makeFIFO(ends []pipeEnd) error {
	first := ends[0].fifo
	if !first.Deleted {
		return r.openFIFO(ends)
	}
	make := func(name string) error { return unix.Mkfifo(name, 0o600) }
	return withName(first.Path, make, func() error { return r.openFIFO(ends) })
}

// openFIFO opens all descriptions, behind one for reading and writing, which
// nothing blocks (fifo(7)).
func (r *restorer) openFIFO(ends []pipeEnd) error {
	helper, err := r.openEnd(ends[0].fifo.Path, unix.O_RDWR)
	if err != nil {
		return err
	}
	err = r.fillFIFO(helper, ends)
	err = errors.Join(err, r.openEnds(ends, func(e *pipeEnd) bool { return !e.fifo.Unwritten }))
	late := func(e *pipeEnd) bool { return e.fifo.Unwritten }
	var keeper *os.File
	if err == nil {
		// Without a description what is in the FIFO is lost.
		keeper, err = r.openEnd(ends[0].fifo.Path, unix.O_RDONLY)
	}
	// Readers that saw no writer are opened when there is none.
	err = errors.Join(err, helper.Close())
	if err == nil {
		err = r.openEnds(ends, late)
	}
	if keeper != nil {
		err = errors.Join(err, keeper.Close())
	}
	return err
}

func (r *restorer) fillFIFO(f *os.File, ends []pipeEnd) error {
	rec := ends[0].fifo
	if rec.Deleted {
		if err := ownPipe(f, &rec.Pipe); err != nil {
			return err
		}
	}
	return r.fillPipe(f, ends)
}

// openEnds opens those descriptions that are chosen.
func (r *restorer) openEnds(ends []pipeEnd, chosen func(*pipeEnd) bool) error {
	for i := range ends {
		e := &ends[i]
		if !chosen(e) {
			continue
		}
		f, err := r.openEnd(e.fifo.Path, e.mode())
		if err != nil {
			return err
		}
		if f, err = based(f, &e.pipe.Description); err != nil {
			return err
		}
		r.files.pipes.made[e.id] = f
	}
	return nil
}

func (r *restorer) openEnd(path string, mode int) (*os.File, error) {
	f, err := r.reopen.open(path, mode|unix.O_NONBLOCK, ofType(unix.S_IFIFO, "FIFO"))
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w; restore with the same root filesystem", err)
	}
	return f, err
}

// withName has a file under a name that will be gone: make makes it, use finds it
// under path. If something else has the name now, the two are exchanged for a
// moment.
func withName(path string, make func(name string) error, use func() error) error {
	err := make(path)
	if err == nil {
		return errors.Join(use(), unix.Unlink(path))
	}
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	name := fmt.Sprintf("%s.%d.rethaw", path, os.Getpid())
	if err := make(name); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE); err != nil {
		return errors.Join(err, unix.Unlink(name))
	}
	err = use()
	// Removed under its own name, as it was: the link in /proc shows that.
	return errors.Join(err, unix.Unlink(path), unix.Rename(name, path))
}

package restore

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/descriptors"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// files are the open file descriptions that have been made.
type files struct {
	// open are those of descriptors, mapped those that are only mapped or
	// executed.
	open, mapped map[specs.ID]*os.File
	// readOnly are those that are mapped from descriptions for reading only.
	readOnly map[specs.ID]*os.File
	// ghosts are deleted files, made once.
	ghosts map[specs.ID]*os.File
	// tmpTaken tells whose first description has been handed out.
	tmpTaken map[specs.ID]bool
	// holders tell for each description the tasks' tables that lead to it.
	holders map[specs.ID][]holder
	// flying are descriptions that are in flight in the queue of a socket.
	flying map[specs.ID]bool
	// stdio are the placeholder's own descriptors 0, 1 and 2.
	stdio [3]*os.File
	// timers are to be started last.
	timers []armed
	// inotify instances are to be filled last.
	inotify []watching
	pipes   pipes
}

// holder is a descriptor number in the table of a task.
type holder struct {
	t  *task
	fd int32
}

func (fs *files) close() {
	for _, m := range []map[specs.ID]*os.File{fs.open, fs.mapped, fs.readOnly, fs.ghosts} {
		for _, f := range m {
			f.Close()
		}
	}
	fs.pipes.close()
	for _, f := range fs.stdio {
		if f != nil {
			f.Close()
		}
	}
}

// MakeRoom prepares our own table of descriptors for all files of an image, which we have open at the
// same time. Run and Tree do so too; who has something else to wait for before saves the time that it takes, some 10 ms
// if the files are many.
func MakeRoom(img *image.Reader) error {
	n := 0
	for range image.Each[specs.File](img) {
		n++
	}
	return descriptors.Room(n)
}

// openFiles makes every open file description that a table leads to, by the
// handler of its kind, in the container's namespaces.
func (r *restorer) openFiles() error {
	r.files.open, r.files.mapped, r.files.ghosts = map[specs.ID]*os.File{}, map[specs.ID]*os.File{}, map[specs.ID]*os.File{}
	r.files.readOnly, r.files.holders = map[specs.ID]*os.File{}, map[specs.ID][]holder{}
	r.files.flying = map[specs.ID]bool{}
	if err := r.takeStdio(); err != nil {
		return err
	}
	if err := r.within(r.makeTerminals); err != nil {
		return err
	}
	for _, t := range r.tasks {
		table, err := r.table(t)
		if err != nil {
			return err
		}
		for _, e := range table {
			r.files.holders[e.File] = append(r.files.holders[e.File], holder{t, e.Number})
		}
	}
	for _, s := range image.Each[*specs.UnixSocket](r.img) {
		for i := range s.Queue {
			for _, id := range s.Queue[i].Files {
				r.files.flying[id] = true
			}
		}
	}
	if err := r.within(r.makeContents); err != nil {
		return err
	}
	return r.within(r.openDescriptions)
}

// openDescriptions makes all descriptions, and completes them.
func (r *restorer) openDescriptions() error {
	for id, rec := range r.descriptions() {
		if _, err := r.openFile(id, rec); err != nil {
			return err
		}
	}
	for id, rec := range r.descriptions() {
		k := r.kindOf(rec)
		if k.finish == nil {
			continue
		}
		if err := k.finish(r, id, rec, r.files.open[id]); err != nil {
			return &Error{"complete file", describe(id, rec), err}
		}
	}
	return nil
}

// descriptions iterates over the records of open files that a descriptor leads
// to, in the order of the image.
func (r *restorer) descriptions() func(func(specs.ID, specs.File) bool) {
	return func(yield func(specs.ID, specs.File) bool) {
		for id, rec := range image.Each[specs.File](r.img) {
			if !r.isDescription(id, rec) {
				continue
			}
			if !yield(id, rec) {
				return
			}
		}
	}
}

// isDescription tells records of descriptors, and of descriptors in flight, from those of files that are only
// mapped or executed.
func (r *restorer) isDescription(id specs.ID, rec specs.File) bool {
	if len(r.files.holders[id]) > 0 || r.files.flying[id] {
		return true
	}
	k := r.kindOf(rec)
	return k != nil && k.detached != nil && k.detached(rec)
}

// openFile makes one description, once.
func (r *restorer) openFile(id specs.ID, rec specs.File) (*os.File, error) {
	if f := r.files.open[id]; f != nil {
		return f, nil
	}
	k := r.kindOf(rec)
	if k == nil {
		return nil, &Error{"open file", describe(id, rec), errors.New("no restorer for this kind")}
	}
	if k.inTask {
		return nil, nil
	}
	var f *os.File
	err := r.within(func() error {
		var err error
		f, err = k.open(r, id, rec)
		return err
	})
	if err != nil {
		return nil, &Error{"open file", describe(id, rec), err}
	}
	if f != nil && r.isDescription(id, rec) {
		r.files.open[id] = f
	}
	return f, nil
}

// describe names a file in messages.
func describe(id specs.ID, rec specs.File) string {
	type pathed interface{ name() string }
	if p, ok := rec.(pathed); ok {
		return p.name()
	}
	switch rec := rec.(type) {
	case *specs.UnixSocket:
		return fmt.Sprintf("unix socket %d %q", id, afunix.String(rec.Name))
	case *specs.Regular:
		return rec.Path
	case *specs.Directory:
		return rec.Path
	case *specs.Path:
		return rec.Path
	case *specs.Device:
		return rec.Path
	case *specs.ProcFile:
		return rec.Path
	case *specs.FIFO:
		return rec.Path
	case *specs.Terminal:
		return rec.Path
	}
	return fmt.Sprintf("file %d (%T)", id, rec)
}

// table gives the descriptors of a task, lowest number first.
func (r *restorer) table(t *task) ([]specs.FD, error) {
	if t.rec.FDs == 0 {
		return nil, nil
	}
	rec, err := get[*specs.FDs](r, t.rec.FDs)
	if err != nil {
		return nil, err
	}
	entries := slices.Clone(rec.Entries)
	slices.SortFunc(entries, func(a, b specs.FD) int { return int(a.Number) - int(b.Number) })
	return entries, nil
}

// setBase gives a new description its status flags and position. O_ASYNC is for
// restoreOwners.
func setBase(f *os.File, base *specs.Description, seekable bool) error {
	const settable = unix.O_APPEND | unix.O_DIRECT | unix.O_NOATIME | unix.O_NONBLOCK
	if base.Flags&unix.O_PATH == 0 {
		now, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if want := int(base.Flags & settable); want != now&settable {
			if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, now&^settable|want); err != nil {
				return fmt.Errorf("set flags %#o: %w", want, err)
			}
		}
	}
	if seekable && base.Position != 0 {
		if _, err := unix.Seek(int(f.Fd()), base.Position, unix.SEEK_SET); err != nil {
			return fmt.Errorf("set position %d: %w", base.Position, err)
		}
	}
	return nil
}

package restore

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/specs"
)

// object is something with contents in pages files that belongs to no address space.
type object struct {
	id    specs.ID
	pages []specs.Extent
	// make makes it, with its contents.
	make func(r *restorer) error
}

// contents are all such objects, in the order in which a stream has them.
func (r *restorer) contents() []object {
	var list []object
	for id, rec := range r.img.All() {
		o := object{id: id}
		switch rec := rec.(type) {
		case *specs.Shared:
			o.pages, o.make = rec.Pages, func(r *restorer) error { return r.makeShared(id, rec) }
		case *specs.Ghost:
			o.pages, o.make = rec.Pages, func(r *restorer) error { _, err := r.ghost(id); return err }
		case *specs.Pipe:
			o.pages, o.make = rec.Pages, func(r *restorer) error { _, err := r.openFile(id, rec); return err }
		case *specs.FIFO:
			o.pages, o.make = rec.Pages, func(r *restorer) error { _, err := r.openFile(id, rec); return err }
		}
		if len(o.pages) > 0 {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b object) int {
		x, _ := r.img.Position(a.pages[0])
		y, _ := r.img.Position(b.pages[0])
		return compareSpots(x, y)
	})
	return list
}

// makeContents makes all of them before anybody asks for one.
func (r *restorer) makeContents() error {
	for _, o := range r.contents() {
		if err := o.make(r); err != nil {
			var known *Error
			if errors.As(err, &known) {
				return err
			}
			return &Error{"restore contents", fmt.Sprintf("object %d", o.id), err}
		}
	}
	return nil
}

// makeShared makes shared memory. Segments of System V exist already, and are filled.
func (r *restorer) makeShared(id specs.ID, s *specs.Shared) error {
	if s.Kind != "sysv" {
		_, err := r.mapped(id)
		return err
	}
	for _, segment := range records[*specs.SysVShm](r) {
		if segment.Object == id {
			return ipcFailure(segment, r.fillSegment(segment, s))
		}
	}
	return fmt.Errorf("%w: shared memory of no segment", ErrUnfit)
}

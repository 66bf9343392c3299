package restore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// Streams tells whether an image that comes as a stream has its contents in the order in
// which a restore needs them; the error answers to image.ErrOrder if not. Such an image
// must land in a directory first (image.Reader.Land).
func Streams(img *image.Reader) error {
	r := &restorer{img: img}
	if err := r.plan(); err != nil {
		return err
	}
	return r.inOrder()
}

// spot is where a stream has something, as image.Reader.Position tells.
type spot = [2]uint64

func compareSpots(a, b spot) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }

// cursor checks that what is asked for comes in order.
type cursor struct{ at spot }

// pass goes on to what begins at from and has size bytes.
func (c *cursor) pass(what string, from spot, size uint64, ok bool) error {
	if !ok || compareSpots(from, c.at) < 0 {
		return fmt.Errorf("%s: %w", what, image.ErrOrder)
	}
	c.at = spot{from[0], from[1] + size}
	return nil
}

func (c *cursor) extents(what string, img *image.Reader, list []specs.Extent) error {
	for _, e := range list {
		at, ok := img.Position(e)
		if err := c.pass(what, at, e.Count*pageSize, ok); err != nil {
			return err
		}
	}
	return nil
}

// inOrder goes through all contents as the restore will.
func (r *restorer) inOrder() error {
	if r.img.Window() == 0 {
		return nil
	}
	c := &cursor{}
	for _, rec := range r.tmpfsMounts() {
		at, ok := r.img.MemberPosition(rec.Archive, rec.Offset)
		if err := c.pass("tmpfs "+rec.Point, at, uint64(rec.Bytes), ok); err != nil {
			return err
		}
	}
	for _, o := range r.contents() {
		if err := c.extents(fmt.Sprintf("object %d", o.id), r.img, o.pages); err != nil {
			return err
		}
	}
	return r.spacesInOrder(c, r.root, r.root.rec.SID)
}

// spacesInOrder goes through the tree as grow does; sid is the session that t is in when
// it has been forked.
func (r *restorer) spacesInOrder(c *cursor, t *task, sid int32) error {
	shares := t.parent != nil && t.rec.Memory == t.parent.rec.Memory
	if !t.helper() && t.mm != nil && !shares {
		b := &builder{r: r, t: t}
		b.inheritable()
		own, err := b.ownPages()
		if err != nil {
			return err
		}
		if err := c.extents(fmt.Sprintf("memory of task %d", t.rec.PID), r.img, own); err != nil {
			return err
		}
	}
	former := func(o *task) bool { return false }
	if before := sid; t.rec.SID == t.rec.PID && sid != t.rec.SID {
		former = func(o *task) bool { return o.rec.SID == before }
		sid = t.rec.PID
		for _, o := range t.children {
			if former(o) {
				if err := r.spacesInOrder(c, o, before); err != nil {
					return err
				}
			}
		}
	}
	for _, o := range t.children {
		if !former(o) {
			if err := r.spacesInOrder(c, o, sid); err != nil {
				return err
			}
		}
	}
	return nil
}

// sortByPlace has tasks made in the order in which a stream has their pages.
func (r *restorer) sortByPlace(t *task) spot {
	first := spot{^uint64(0), ^uint64(0)}
	spots := map[*task]spot{}
	for _, o := range t.children {
		spots[o] = r.sortByPlace(o)
		first = slices.MinFunc([]spot{first, spots[o]}, compareSpots)
	}
	slices.SortStableFunc(t.children, func(a, b *task) int { return compareSpots(spots[a], spots[b]) })
	if t.mm == nil {
		return first
	}
	for _, e := range t.mm.Pages {
		if at, ok := r.img.Position(e); ok && !e.Inherit {
			return slices.MinFunc([]spot{first, at}, compareSpots)
		}
	}
	return first
}

// tmpfsMounts are those of the image, those on top of others later.
func (r *restorer) tmpfsMounts() []*specs.Tmpfs {
	list := records[*specs.Tmpfs](r)
	slices.SortFunc(list, func(a, b *specs.Tmpfs) int { return strings.Compare(a.Point, b.Point) })
	return list
}

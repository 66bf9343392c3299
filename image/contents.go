package image

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/fxamacker/cbor/v2"

	"github.com/rethaw/rethaw/specs"
)

// sumSize is the size of Member.Sum in bytes.
const sumSize = 16

// newContents takes over what a scan found and checks what records say of each
// other and of the files.
func newContents(s *scanner) (*contents, error) {
	c := &contents{size: s.size, byID: make(map[specs.ID]int), sizes: make(map[string]int64)}
	last := len(s.records) - 1 // the list of members
	c.entries, c.records, c.members = s.entries[:last], s.records[:last], s.members.Files
	fail := func(i int, err error) error {
		return &Error{Kind: ErrCorrupt, Path: s.path, Record: i, Offset: s.entries[i].offset,
			Detail: fmt.Sprintf("%s %d", typeName(s.records[i]), s.entries[i].id), Err: err}
	}
	var ok bool
	if c.header, ok = c.records[0].(*specs.Header); !ok {
		return nil, fail(0, errors.New("it should be the header"))
	}
	if err := c.takeMembers(); err != nil {
		return nil, fail(last, err)
	}
	page := int64(c.header.PageSize)
	if page < 512 || bits.OnesCount64(uint64(page)) != 1 {
		return nil, fail(0, fmt.Errorf("a page size of %d bytes", page))
	}
	known := make(map[specs.ID]specs.Type)
	refs := newReferences()
	left := c.pagesTotal()
	for i, r := range c.records {
		id := c.entries[i].id
		if id != 0 {
			if other, ok := c.byID[id]; ok {
				return nil, fail(i, fmt.Errorf("record %d has the same ID", other))
			}
			c.byID[id] = i
			known[id] = r.RecordType()
		}
		if err := r.Validate(); err != nil {
			return nil, fail(i, err)
		}
		refs.add(id, r)
		if name := memberOf(r); name != "" {
			if _, ok := c.sizes[name]; !ok {
				return nil, fail(i, fmt.Errorf("it names the file %.100q, which the image does not have", name))
			}
		}
		if err := checkPart(r, c.sizes); err != nil {
			return nil, fail(i, err)
		}
		if err := checkExtents(r, page, c.pagesSize); err != nil {
			return nil, fail(i, err)
		}
		// Each page stands for one: few bytes must not become much memory.
		if left -= bytesOf(r, page); left < 0 {
			return nil, fail(i, fmt.Errorf("it and those before it have more pages than the pages files, by %d bytes", -left))
		}
	}
	err := refs.missing(known)
	if err == nil {
		err = refs.misled(func(id specs.ID) specs.Record { return c.records[c.byID[id]] })
	}
	if err != nil {
		e := bad(ErrCorrupt, s.path, "")
		e.Err = err
		return nil, e
	}
	if i, err := c.checkGraph(); err != nil {
		return nil, fail(i, err)
	}
	return c, nil
}

// takeMembers checks the list of files.
func (c *contents) takeMembers() error {
	for _, m := range c.members {
		if err := checkMember(m.Name); err != nil {
			return err
		}
		if _, ok := c.sizes[m.Name]; ok {
			return fmt.Errorf("file %q is there twice", m.Name)
		}
		if m.Size < 0 || m.Size > maxAllocation {
			return fmt.Errorf("file %q has a size of %d bytes", m.Name, m.Size)
		}
		if len(m.Sum) != sumSize {
			return fmt.Errorf("file %q has a digest of %d bytes", m.Name, len(m.Sum))
		}
		c.sizes[m.Name] = m.Size
	}
	return nil
}

// pagesTotal is how many bytes all pages files have.
func (c *contents) pagesTotal() int64 {
	var total int64
	for name, size := range c.sizes {
		if _, ok := pagesNumber(name); ok {
			total += min(size, math.MaxInt64-total)
		}
	}
	return total
}

// pagesSize is the size of the pages file n.
func (c *contents) pagesSize(n uint32) (int64, bool) {
	size, ok := c.sizes[pagesName(n)]
	return size, ok
}

// unknownField tells whether decoding met a key that the type does not have: a
// newer minor version wrote it.
func unknownField(err error) bool {
	var unknown *cbor.UnknownFieldError
	return errors.As(err, &unknown)
}

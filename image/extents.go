package image

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/rethaw/rethaw/specs"
)

// extentsOf returns the extents of any record that has some: those of its fields
// that are a list of them.
func extentsOf(r specs.Record) []specs.Extent {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if !v.Field(i).CanInterface() {
			continue
		}
		if extents, ok := v.Field(i).Interface().([]specs.Extent); ok && len(extents) > 0 {
			return extents
		}
	}
	return nil
}

// checkExtents says whether the extents of r are in order, do not overlap and lie
// within the pages files, whose sizes the function size tells. page is the page
// size in bytes.
func checkExtents(r specs.Record, page int64, size func(uint32) (int64, bool)) error {
	var end uint64
	for i, e := range extentsOf(r) {
		err := checkExtent(e, uint64(page), size)
		if err == nil && e.Start < end {
			err = fmt.Errorf("it begins before the end of the one before it, %#x", end)
		}
		if err != nil {
			return fmt.Errorf("extent %d at %#x: %w", i, e.Start, err)
		}
		end = e.Start + e.Count*uint64(page)
	}
	if size, ok := sizeOf(r); ok && end > 0 && end-uint64(page) >= size {
		return fmt.Errorf("its contents end at %d, and it has %d bytes", end, size)
	}
	return nil
}

// bytesOf is how many bytes of pages files the extents of r stand for, once they have been checked.
func bytesOf(r specs.Record, page int64) int64 {
	var total int64
	for _, e := range extentsOf(r) {
		if bytes := int64(e.Count) * page; !e.Inherit {
			total += min(bytes, math.MaxInt64-total)
		}
	}
	return total
}

// sizeOf is the size in bytes of what extents are the contents of, if it has one.
func sizeOf(r specs.Record) (uint64, bool) {
	switch r := r.(type) {
	case *specs.Shared:
		return r.Size, true
	case *specs.Ghost:
		return uint64(r.Size), true
	case *specs.Pipe:
		return r.Length, true
	case *specs.FIFO:
		return r.Length, true
	}
	return 0, false
}

// checkPart says whether a part of a file beside image.rt lies within it.
func checkPart(r specs.Record, sizes map[string]int64) error {
	t, ok := r.(*specs.Tmpfs)
	if !ok || t.Archive == "" {
		return nil
	}
	if size := sizes[t.Archive]; t.Offset > size || t.Bytes > size-t.Offset {
		return fmt.Errorf("%d bytes at %d are not within the %d bytes of %s", t.Bytes, t.Offset, size, t.Archive)
	}
	return nil
}

func checkExtent(e specs.Extent, page uint64, size func(uint32) (int64, bool)) error {
	if e.Count == 0 {
		return errors.New("it has no pages")
	}
	if e.Count > math.MaxInt64/page || e.Start%page != 0 || e.Start > math.MaxUint64-e.Count*page {
		return fmt.Errorf("%d pages do not fit there", e.Count)
	}
	if e.Inherit {
		if e.File != 0 || e.Offset != 0 || e.Sum != 0 {
			return errors.New("it is inherited and has bytes of its own")
		}
		return nil
	}
	have, ok := size(e.File)
	if !ok {
		return fmt.Errorf("the image has no %s", pagesName(e.File))
	}
	length := e.Count * page
	if e.Offset%page != 0 || length > uint64(have) || e.Offset > uint64(have)-length {
		return fmt.Errorf("%d bytes at offset %d are not within the %d bytes of %s", length, e.Offset, have, pagesName(e.File))
	}
	return nil
}

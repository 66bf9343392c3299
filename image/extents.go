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

package image

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/rethaw/rethaw/specs"
)

// references gathers the objects that records refer to, so that none of them is
// found missing when the restore has begun: every field of type specs.ID counts.
type references struct {
	// from is one record that refers to each object.
	from map[specs.ID]reference
	// uses are the places that objects are referred to from, each once.
	uses map[use]reference
	// holds remembers which types have such a field anywhere.
	holds map[reflect.Type]bool
}

// reference is who refers to an object.
type reference struct {
	id   specs.ID
	kind string
}

// use is a field that leads to an object.
type use struct {
	id    specs.ID
	field string
}

func newReferences() *references {
	return &references{from: make(map[specs.ID]reference), uses: make(map[use]reference), holds: make(map[reflect.Type]bool)}
}

// add takes in the references of r.
func (s *references) add(id specs.ID, r specs.Record) {
	s.walk(reflect.ValueOf(r), reference{id: id, kind: typeName(r)}, "")
}

func (s *references) walk(v reflect.Value, from reference, field string) {
	if !s.holdsIDs(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			s.walk(v.Elem(), from, field)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if t := v.Type(); s.holdsIDs(t.Field(i).Type) {
				s.walk(v.Field(i), from, t.Name()+"."+t.Field(i).Name)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			s.walk(v.Index(i), from, field)
		}
	default:
		id := specs.ID(v.Uint())
		if id == 0 {
			return
		}
		if _, ok := s.from[id]; !ok {
			s.from[id] = from
		}
		if _, ok := s.uses[use{id, field}]; !ok {
			s.uses[use{id, field}] = from
		}
	}
}

// holdsIDs tells whether a value of type t can have an ID in it. No type of
// package specs contains itself; one that did would be taken to have none.
func (s *references) holdsIDs(t reflect.Type) bool {
	if t == reflect.TypeFor[specs.ID]() {
		return true
	}
	if known, ok := s.holds[t]; ok {
		return known
	}
	s.holds[t] = false
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		s.holds[t] = s.holdsIDs(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if s.holdsIDs(t.Field(i).Type) {
				s.holds[t] = true
			}
		}
	}
	return s.holds[t]
}

// missing names the lowest object that is referred to and not among ids.
func (s *references) missing(ids map[specs.ID]specs.Type) error {
	for _, id := range slices.Sorted(maps.Keys(s.from)) {
		if _, ok := ids[id]; !ok {
			from := s.from[id]
			return fmt.Errorf("%s %d refers to object %d, which is not in the image", from.kind, from.id, id)
		}
	}
	return nil
}

// misled names a reference to an object of a type that it cannot be meant for. All
// objects are there.
func (s *references) misled(find func(specs.ID) specs.Record) error {
	for to, from := range s.uses {
		if err := fits(to.field, find(to.id)); err != nil {
			return fmt.Errorf("%s %d: object %d: %w", from.kind, from.id, to.id, err)
		}
	}
	return nil
}

// memberOf is the file of the image that r names, "" for none.
func memberOf(r specs.Record) string {
	if tmpfs, ok := r.(*specs.Tmpfs); ok {
		return tmpfs.Archive
	}
	return ""
}

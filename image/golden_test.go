package image

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

var update = flag.Bool("update", false, "write the golden image of this version anew")

// types are all types but the header's, in the order of their numbers.
func types() []specs.Type {
	list := slices.DeleteFunc(specs.Types(), func(t specs.Type) bool { return t == specs.TypeHeader })
	slices.Sort(list)
	return list
}

// sample is a record of a type with every field set, and the ID that all
// references in it name, so that it may stand alone.
func sample(t testing.TB, kind specs.Type) (specs.Record, specs.ID) {
	t.Helper()
	r := empty(kind)
	if r == nil {
		t.Fatalf("no record of type %d", kind)
	}
	id := specs.ID(kind)
	var n uint64
	set(reflect.ValueOf(r).Elem(), id, &n)
	switch r := r.(type) {
	case *specs.Tmpfs:
		r.Archive = ""
	case *specs.Members:
		r.Files[0].Sum = make([]byte, sumSize)
	}
	return r, id
}

// set gives every field below v a value of its own.
func set(v reflect.Value, id specs.ID, n *uint64) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *specs.ID:
		*x = id
		return
	case *specs.Extent:
		*x = specs.Extent{Start: 1 << 20, Count: 3, Inherit: true}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			set(v.Field(i), id, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem(), id, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0), id, n)
	case reflect.Array:
		for i := range v.Len() {
			set(v.Index(i), id, n)
		}
	case reflect.String:
		v.SetString("text \xff")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-int64(*n % 100))
	default:
		v.SetUint(*n % 100)
	}
}

// TestGolden reads the images that earlier versions wrote. Each record must
// encode to the very payload that it was read from: no key has changed its
// meaning, and nothing that was saved is lost.
func TestGolden(t *testing.T) {
	current := filepath.Join("testdata", "golden-1.0")
	if *update {
		writeGolden(t, current)
	}
	images, err := filepath.Glob(filepath.Join("testdata", "golden-*"))
	if err != nil || len(images) == 0 {
		t.Fatal("no golden image: ", err)
	}
	p, err := newPayloads()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range images {
		r := open(t, dir)
		if err := r.Verify(t.Context(), nil); err != nil {
			t.Error(err)
		}
		file, err := os.ReadFile(filepath.Join(dir, specs.ImageFile))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range r.entries {
			want := file[e.offset+specs.RecordHeaderSize:][:e.length]
			got, err := p.encode(r.records[i])
			if err != nil || !bytes.Equal(want, got) {
				t.Errorf("%s: %s %d was\n%x and is\n%x: %v", dir, typeName(r.records[i]), e.id, want, got, err)
			}
		}
	}
	if os.Getpagesize() != 4096 {
		t.Skip("the golden image has pages of 4096 bytes")
	}
	// Every type of today is in the image of today's version.
	r := open(t, current)
	for _, kind := range types() {
		want, id := sample(t, kind)
		if got, err := r.Record(id); err != nil || reflect.TypeOf(got) != reflect.TypeOf(want) {
			t.Errorf("%s is not in %s (go test ./image -run Golden -update): %v", typeName(want), current, err)
		}
	}
}

func writeGolden(t *testing.T, dir string) {
	w := create(t, dir)
	pages, err := w.Pages()
	if err != nil {
		t.Fatal(err)
	}
	offset, err := pages.Allocate(4096)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("golden\n\x00"), 512)
	if _, err := pages.File().WriteAt(data, offset); err != nil {
		t.Fatal(err)
	}
	records := []entity{
		{0, &specs.Header{Tool: "golden", PageSize: 4096, Machine: "x86_64", Created: 1 << 60, CPU: []string{"fpu"}}},
		{1, &specs.Memory{Pages: []specs.Extent{{Start: 1 << 30, Count: 1, File: pages.Number(), Offset: uint64(offset), Sum: Sum(data)}}}},
	}
	for _, kind := range types() {
		r, id := sample(t, kind)
		records = append(records, entity{id, r})
	}
	for _, r := range records {
		if err := w.Put(r.ID, r.Record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

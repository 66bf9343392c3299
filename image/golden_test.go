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
	member, err := w.Member("tmpfs-1.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.WriteString("golden"); err != nil {
		t.Fatal(err)
	}
	for _, r := range samples(t, specs.Extent{Start: 1 << 30, Count: 1, File: pages.Number(), Offset: uint64(offset), Sum: Sum(data)}) {
		if err := w.Put(r.ID, r.Record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

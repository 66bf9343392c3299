package image

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/specs"
)

// reseal makes the sums of a mutated image.rt right as far as its frames can be
// followed, so that the mutation gets past them.
func reseal(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) < specs.PrologueSize {
		return b
	}
	var entries []entry
	offset := int64(specs.PrologueSize)
	for int64(len(b))-offset >= frameSize(0) {
		e, length := parseRecordHeader(b[offset:])
		if length > uint64(len(b)) || frameSize(int64(length)) > int64(len(b))-offset || e.kind == specs.TypeIndex {
			break
		}
		e.offset, e.length = offset, int64(length)
		entries = append(entries, e)
		end := offset + frameSize(e.length) - specs.RecordSumSize
		clear(b[offset+specs.RecordHeaderSize+e.length : end])
		binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[offset:end], castagnoli()))
		offset = end + specs.RecordSumSize
	}
	return finish(b[:offset:offset], entries)
}

// usable reads all that an image has, as a restore would.
func usable(t *testing.T, c *contents) {
	t.Helper()
	r := &Reader{contents: c, dir: &directory{path: "fuzz"}}
	if r.Header() == nil {
		t.Fatal("an image without a header")
	}
	for id, record := range r.All() {
		if got, err := r.Record(id); id != 0 && (err != nil || got != record) {
			t.Fatalf("object %d: %v", id, err)
		}
		for _, e := range extentsOf(record) {
			if size, ok := c.pagesSize(e.File); !e.Inherit && (!ok || e.Offset+e.Count*uint64(c.header.PageSize) > uint64(size)) {
				t.Fatalf("extent %+v is not in the image", e)
			}
		}
	}
}

func FuzzOpen(f *testing.F) {
	whole := imageFile(f)
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[:len(whole)/2], false)
	f.Add([]byte(specs.Magic), true)
	var all [][]byte
	for _, r := range samples(f, specs.Extent{Start: 1 << 30, Count: 1, File: 1}) {
		all = append(all, frame(f, r.ID, r.Record))
	}
	f.Add(rewrite(append(all, frame(f, 0, &specs.Members{Files: []specs.Member{
		{Name: "pages-1.rp", Size: 4096, Sum: make([]byte, sumSize)}, {Name: "tmpfs-1.tar", Size: 6, Sum: make([]byte, sumSize)}}}))...), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = reseal(b)
		}
		c, err := read(b)
		if err != nil {
			if !typed(err) {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		usable(t, c)
	})
}

// FuzzRecord decodes payloads of every type; what decodes must encode, and
// decode to the same again.
func FuzzRecord(f *testing.F) {
	p, err := newPayloads()
	if err != nil {
		f.Fatal(err)
	}
	for _, kind := range append(types(), specs.TypeMembers) {
		r, _ := sample(f, kind)
		payload, err := p.encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(kind), payload)
		f.Add(uint32(kind), []byte{0xa0})
	}
	f.Fuzz(func(t *testing.T, kind uint32, payload []byte) {
		first, second := empty(specs.Type(kind)), empty(specs.Type(kind))
		if first == nil || p.decode(payload, first) != nil {
			return
		}
		canonical, err := p.encode(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.decode(canonical, second); err != nil {
			t.Fatalf("%x: %v", canonical, err)
		}
		again, err := p.encode(second)
		if err != nil || !bytes.Equal(canonical, again) {
			t.Fatalf("%v\n%s", err, cmp.Diff(first, second))
		}
	})
}

// empty is a new record of the type, nil if it is unknown.
func empty(kind specs.Type) specs.Record {
	if kind == specs.TypeMembers {
		return &specs.Members{}
	}
	r, err := specs.New(kind)
	if err != nil {
		return nil
	}
	return r
}

func FuzzReceive(f *testing.F) {
	for _, c := range []Codec{Zstd, Gzip, None} {
		f.Add(stream(f, c))
	}
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	archive.WriteHeader(&tar.Header{Name: "../image.rt", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	archive.Close()
	f.Add(b.Bytes())
	f.Add([]byte{0x1f, 0x8b}) // gzip, and nothing of it
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "copy")
		_, err := Receive(t.Context(), bytes.NewReader(b), dir)
		if err == nil {
			if err := open(t, dir).Verify(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			return
		}
		if files, _ := os.ReadDir(parent); len(files) > 0 {
			t.Fatalf("%v, and %v stays", err, files)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(digestPrefix + strings.Repeat("0a", 32))
	f.Add(digestPrefix + strings.Repeat("0A", 32))
	f.Add("md5:00")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseDigest(s); err == nil && (got != s || len(s) != len(digestPrefix)+64) {
			t.Errorf("%q is taken for %q", s, got)
		}
	})
}

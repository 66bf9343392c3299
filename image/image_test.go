package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/specs"
)

// entity is one record for a test.
type entity struct {
	ID     specs.ID
	Record specs.Record
}

// header is the least that an image needs.
func header() *specs.Header {
	return &specs.Header{Tool: "test", PageSize: uint32(os.Getpagesize()), Machine: "x86_64", CPU: []string{"fpu", "sse2"}}
}

// rooted is that of an image with a tree.
func rooted() *specs.Header {
	h := header()
	h.Root = 1
	return h
}

// fill returns n pages that are all different.
func fill(n int) []byte {
	b := make([]byte, n*os.Getpagesize())
	for i := range b {
		b[i] = byte(i>>12+1) ^ byte(i*7)
	}
	return b
}

// build fills w with a small tree: two pages files, a member, a few records. It
// returns the records in the order in which they were put.
func build(t testing.TB, w *Writer) []entity {
	t.Helper()
	page := uint64(os.Getpagesize())
	var extents []specs.Extent
	for i := range 2 {
		pages, err := w.Pages()
		if err != nil {
			t.Fatal(err)
		}
		data := fill(3 + i)
		offset, err := pages.Allocate(int64(len(data)) - 100)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pages.File().WriteAt(data, offset); err != nil {
			t.Fatal(err)
		}
		extents = append(extents, specs.Extent{
			Start: uint64(i+1) << 30, Count: uint64(len(data)) / page,
			File: pages.Number(), Offset: uint64(offset), Sum: Sum(data),
		})
	}
	member, err := w.Member("tmpfs-1.tar")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.WriteString("contents of a tmpfs"); err != nil {
		t.Fatal(err)
	}
	records := []entity{
		{0, rooted()},
		{1, &specs.Task{PID: 1, State: "running", Memory: 3, FDs: 4, FS: 6, Exe: 7, Threads: []specs.ID{2}, Limits: [][2]uint64{{1, 2}}}},
		{2, &specs.Thread{TID: 1, Comm: "caf\xe9", Registers: fill(1)[:216], Creds: specs.Creds{Groups: []uint32{5}}}},
		{3, &specs.Memory{Brk: 1 << 40, Areas: []specs.Area{
			{Start: 1 << 30, End: 1<<30 + 3*page, Kind: "anon"}, {Start: 2 << 30, End: 2<<30 + 4*page, Kind: "heap"}}, Pages: extents}},
		{4, &specs.FDs{Entries: []specs.FD{{Number: 7, File: 5, CloExec: true}}}},
		{5, &specs.FIFO{Pipe: specs.Pipe{Size: 4096, Data: []byte("queued"), Holds: true}, Path: "/tmp/\xff"}},
		{6, &specs.FS{Cwd: "/", Root: "/", Umask: 0o22}},
		{7, &specs.Regular{Path: "/bin/sh", Mode: 0o100755}},
		{0, &specs.Tmpfs{Point: "/tmp", Archive: "tmpfs-1.tar", Bytes: 19}},
		{0, &specs.UTS{Hostname: "h"}},
	}
	for _, r := range records {
		if err := w.Put(r.ID, r.Record); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// commit writes the small tree to dir.
func commit(t testing.TB, dir string) []entity {
	t.Helper()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	records := build(t, w)
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return records
}

// open opens dir for the length of the test.
func open(t testing.TB, dir string) *Reader {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestWhatIsPutIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	want := commit(t, dir)
	r := open(t, dir)
	var got []entity
	for id, record := range r.All() {
		got = append(got, entity{id, record})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(rooted(), r.Header()); diff != "" {
		t.Error(diff)
	}
	memory, err := Get[*specs.Memory](r, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range memory.Pages {
		file, err := r.PagesFile(e.File)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, e.Count*uint64(os.Getpagesize()))
		if _, err := file.ReadAt(b, int64(e.Offset)); err != nil {
			t.Fatal(err)
		}
		if Sum(b) != e.Sum {
			t.Errorf("pages at %#x differ", e.Start)
		}
	}
	for id, file := range Each[specs.File](r) {
		if _, ok := file.(*specs.FIFO); ok != (id == 5) {
			t.Errorf("file %d is a %T", id, file)
		}
	}
	if _, err := os.Stat(dir + specs.PartialSuffix); !os.IsNotExist(err) {
		t.Errorf("partial: %v", err)
	}
}

// TestPrefetch reads ahead from a whole image, with room and without, and from one that
// is closed: advice never fails.
func TestPrefetch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "image")
	commit(t, dir)
	r := open(t, dir)
	for _, limit := range []int64{0, 1, 1 << 40} {
		r.Prefetch(limit)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.Prefetch(1 << 40)
}

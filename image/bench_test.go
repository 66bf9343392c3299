package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

// trivial puts what the image of a container with one small process has: some
// 40 records and 200 KB of pages.
func trivial(b *testing.B, w *Writer) {
	b.Helper()
	pages, err := w.Pages()
	if err != nil {
		b.Fatal(err)
	}
	data := fill(50)
	offset, err := pages.Allocate(int64(len(data)))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := pages.File().WriteAt(data, offset); err != nil {
		b.Fatal(err)
	}
	records := []entity{{0, header()}, {1, &specs.Memory{Areas: benchAreas()}}}
	for i := range 25 {
		e := specs.Extent{Start: uint64(i+1) << 20, Count: 2, File: pages.Number(), Offset: uint64(offset) + uint64(2*i*os.Getpagesize())}
		memory := records[1].Record.(*specs.Memory)
		memory.Pages = append(memory.Pages, e)
	}
	for id := specs.ID(2); id < 40; id++ {
		records = append(records, entity{id, &specs.Pipe{Inode: 7, Data: make([]byte, 100)}})
	}
	for _, r := range records {
		if err := w.Put(r.ID, r.Record); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkCommit(b *testing.B, options ...Option) {
	parent := b.TempDir()
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(parent, "c"+string(rune('a'+i%20)))
		b.StopTimer()
		os.RemoveAll(dir)
		b.StartTimer()
		w, err := Create(dir, options...)
		if err != nil {
			b.Fatal(err)
		}
		trivial(b, w)
		if _, err := w.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrivial(b *testing.B)            { benchmarkCommit(b) }
func BenchmarkTrivialWithoutSync(b *testing.B) { benchmarkCommit(b, WithoutSync()) }

// BenchmarkUntilSeal is the part for which a container stands still.
func BenchmarkUntilSeal(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "c")
	for b.Loop() {
		w, err := Create(dir)
		if err != nil {
			b.Fatal(err)
		}
		trivial(b, w)
		if err := w.Seal(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.Abort()
		b.StartTimer()
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "c")
	w, err := Create(dir)
	if err != nil {
		b.Fatal(err)
	}
	trivial(b, w)
	if _, err := w.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

// benchAreas are as many as a small program has.
func benchAreas() []specs.Area {
	areas := make([]specs.Area, 30)
	for i := range areas {
		areas[i] = specs.Area{Start: uint64(i+1) << 20, End: uint64(i+2) << 20, Kind: "anon"}
	}
	return areas
}

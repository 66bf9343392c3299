package restore

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/pax"
	"github.com/rethaw/rethaw/specs"
)

func TestLoadable(t *testing.T) {
	const window = 16 << 20
	pages := func(start, count uint64) specs.Extent { return specs.Extent{Start: start, Count: count} }
	var dense, sparse []specs.Extent
	for at := uint64(0); at < 40<<20; at += 1 << 20 {
		dense = append(dense, pages(1<<30+at, 256))
		sparse = append(sparse, pages(1<<30+2*at, 1))
	}
	for name, c := range map[string]struct {
		list   []specs.Extent
		window uint64
		want   int
	}{
		"a directory":            {dense, 0, 40},
		"as much as fits":        {dense, window, 16},
		"whole blocks":           {dense[1:], window, 15},
		"one page each":          {sparse, window, 40},
		"one only":               {dense[:1], window, 1},
		"a block of many pieces": {slices.Repeat([]specs.Extent{pages(1<<30, 256)}, 30), window, 1},
		"nothing":                {nil, window, 0},
	} {
		if got := loadable(c.list, c.window); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestTmpfsLater(t *testing.T) {
	var l tmpfsLater
	var want []lateFile
	for i, name := range []string{"tmp", "tmp/a", "tmp/a/one", "tmp/a/only", "tmp/b", "tmp/\xff\x00b", "run", ""} {
		e := lateFile{name: name, flags: uint32(i) << 28, atime: int64(i-3) << 60, mtime: 1600000000123456789}
		l.add(&pax.Entry{Header: pax.Header{Name: name, Flags: e.flags, Atime: e.atime, Mtime: e.mtime}})
		l.add(&pax.Entry{Header: pax.Header{Name: "tmp/link", Type: pax.HardLink}})
		l.add(&pax.Entry{Header: pax.Header{Name: "tmp/mount", Mountpoint: true}})
		want = append(want, e)
	}
	for range 2 {
		var got []lateFile
		if err := l.each(func(e lateFile) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(lateFile{})); diff != "" {
			t.Error(diff)
		}
	}
	if err := l.each(func(lateFile) error { return io.EOF }); err != io.EOF {
		t.Error(err)
	}
}

// streamOf is a stream whose address spaces come in a given order.
func streamOf(t *testing.T, tasks []*specs.Task, order ...int32) *image.Reader {
	t.Helper()
	var b bytes.Buffer
	w, err := image.CreateStream(&b, image.None)
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.Pages()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := w.Pages()
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, os.Getpagesize())
	extents := map[int32]specs.Extent{}
	add := func(p *image.Pages) specs.Extent {
		e, err := p.Append(page, bytes.NewReader(page), 0)
		if err != nil {
			t.Fatal(err)
		}
		e.Start = 1 << 30
		return e
	}
	for _, pid := range order {
		p := memory
		if pid < 0 {
			p = files
		}
		extents[pid] = add(p)
	}
	put := func(id specs.ID, r specs.Record) {
		if err := w.Put(id, r); err != nil {
			t.Fatal(err)
		}
	}
	put(0, &specs.Header{PageSize: uint32(len(page)), Root: 1001})
	put(4001, &specs.FDs{})
	put(4002, &specs.FS{Cwd: "/", Root: "/"})
	put(4003, &specs.Regular{Path: "/bin/sh", Mode: 0o100755})
	for _, task := range tasks {
		id := specs.ID(task.PID)
		m := &specs.Memory{Areas: []specs.Area{{Start: 1 << 30, End: 1<<30 + uint64(len(page)), Kind: "anon"}}, Pages: []specs.Extent{extents[task.PID]}}
		if task.State != "zombie" {
			put(2000+id, m)
			put(3000+id, &specs.Thread{TID: task.PID, Registers: page[:216]})
			task.Memory, task.Threads = 2000+id, []specs.ID{3000 + id}
			task.FDs, task.FS, task.Exe = 4001, 4002, 4003
		}
		put(1000+id, task)
	}
	if e, ok := extents[-1]; ok {
		e.Start = 0
		put(5000, &specs.Shared{Size: uint64(len(page)), Kind: "anonymous", Pages: []specs.Extent{e}})
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := image.OpenStream(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestStreamsInTreeOrder(t *testing.T) {
	task := func(pid, ppid, sid int32) *specs.Task {
		return &specs.Task{PID: pid, PPID: ppid, SID: sid, PGID: pid, State: "running"}
	}
	line := func() []*specs.Task { return []*specs.Task{task(1, 0, 1), task(2, 1, 1), task(3, 2, 1), task(4, 1, 1)} }
	// 4 and 6 are of the session of a leader that is dead, 5 has a session of its own.
	orphans := func() []*specs.Task {
		return []*specs.Task{task(1, 0, 1), task(4, 1, 3), task(5, 1, 5), task(6, 1, 3)}
	}
	// 3 was forked before 2 started its session, 4 after it.
	former := func() []*specs.Task {
		return []*specs.Task{task(1, 0, 1), task(2, 1, 2), task(3, 2, 2), task(4, 2, 1)}
	}
	for name, c := range map[string]struct {
		tasks []*specs.Task
		order []int32
		good  bool
	}{
		"as they are numbered":     {line(), []int32{1, 2, 3, 4}, true},
		"brothers the other way":   {line(), []int32{1, 4, 2, 3}, true},
		"child before its parent":  {line(), []int32{1, 3, 2, 4}, false},
		"not all below one":        {line(), []int32{1, 2, 4, 3}, false},
		"root last":                {line(), []int32{2, 3, 4, 1}, false},
		"shared memory first":      {line(), []int32{-1, 1, 2, 3, 4}, true},
		"a dead leader's together": {orphans(), []int32{1, 4, 6, 5}, true},
		"a dead leader's apart":    {orphans(), []int32{1, 4, 5, 6}, false},
		"former session first":     {former(), []int32{1, 2, 4, 3}, true},
		"former session last":      {former(), []int32{1, 2, 3, 4}, false},
	} {
		err := Streams(streamOf(t, c.tasks, c.order...))
		if c.good && err != nil || !c.good && !errors.Is(err, image.ErrOrder) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

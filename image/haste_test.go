package image

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

func TestRunningSum(t *testing.T) {
	bytesOf := func(n int) []byte { return bytes.Repeat([]byte{7, 1}, n/2) }
	want, err := sumFile(t.Context(), bytes.NewReader(bytesOf(8192)), 8192, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		feed  func(*runningSum)
		known bool
	}{
		"in order":     {func(s *runningSum) { s.add(bytesOf(4096), 0); s.add(bytesOf(4096), 4096) }, true},
		"as a stream":  {func(s *runningSum) { s.Write(bytesOf(4096)); s.Write(bytesOf(4096)) }, true},
		"out of order": {func(s *runningSum) { s.add(bytesOf(4096), 4096); s.add(bytesOf(4096), 0) }, false},
		"twice":        {func(s *runningSum) { s.add(bytesOf(4096), 0); s.add(bytesOf(4096), 0) }, false},
		"too little":   {func(s *runningSum) { s.add(bytesOf(4096), 0) }, false},
		"handed out":   {func(s *runningSum) { s.add(bytesOf(8192), 0); s.lose() }, false},
	} {
		s := newRunningSum()
		c.feed(s)
		got := s.of(8192)
		if c.known && !bytes.Equal(got, want) || !c.known && got != nil {
			t.Errorf("%s: %x, not %x", name, got, want)
		}
	}
	var none *runningSum
	if none.of(0) != nil {
		t.Error("a sum of nothing")
	}
}

// TestHaste writes the same image in haste and without; both are whole.
func TestHaste(t *testing.T) {
	page := os.Getpagesize()
	contents := bytes.Repeat([]byte("warm"), MaxAppend/4)
	for name, options := range map[string][]Option{"in haste": {WithHaste()}, "without": nil, "in haste, not synced": {WithHaste(), WithoutSync()}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			w, err := Create(dir, options...)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort()
			if err := w.Put(0, &specs.Header{PageSize: uint32(page)}); err != nil {
				t.Fatal(err)
			}
			if err := w.Fill("extra", func(to io.Writer) error { _, err := to.Write(contents[:100]); return err }); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				p, err := w.Pages()
				if err != nil {
					t.Fatal(err)
				}
				for range 20 { // beyond what is given to the disk at a time
					if _, err := p.Append(contents, nil, 0); err != nil {
						t.Fatal(err)
					}
				}
				p.Finish()
				if i == 0 { // and more than was said
					if _, err := p.Append(contents[:page], nil, 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := w.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Verify(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHasteFails has the sync that was begun early fail, and the commit with it.
func TestHasteFails(t *testing.T) {
	h := &haste{syncs: map[string]*syncing{}}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	h.whole("file", file, 0)
	if done, err := h.synced("file", 0); done || !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := h.synced("file", 1); done || err != nil {
		t.Errorf("of another size: %v, %v", done, err)
	}
	m := &members{names: []string{"file"}, files: []*os.File{file}, sizes: []int64{0}, haste: h}
	if err := m.sync(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("sync: %v", err)
	}
}

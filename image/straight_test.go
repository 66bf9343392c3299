package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/specs"
)

// sent is what a stream of the tests has.
type sent struct {
	stream  []byte
	records []entity
	tmpfs   []byte
	// pages are the bytes of each extent of the memory, in the stream's order.
	extents []specs.Extent
	pages   [][]byte
}

// buildStream puts a small tree: two pages files of some size pages, a member, a few
// records.
func buildStream(t testing.TB, w *Writer, size int) sent {
	t.Helper()
	page := os.Getpagesize()
	s := sent{tmpfs: bytes.Repeat([]byte("contents of a tmpfs "), 17*size)}
	for i := range 2 {
		pages, err := w.Pages()
		if err != nil {
			t.Fatal(err)
		}
		data := fill(size + size/4*i)
		for at := 0; at < len(data); at += 7 * page {
			b := data[at:min(at+7*page, len(data))]
			e, err := pages.Append(b, bytes.NewReader(data), int64(at))
			if err != nil {
				t.Fatal(err)
			}
			e.Start = uint64(i+1)<<30 + uint64(at)
			s.extents, s.pages = append(s.extents, e), append(s.pages, b)
		}
	}
	err := w.Fill("tmpfs-1.tar", func(to io.Writer) error {
		_, err := io.Copy(to, iotest.HalfReader(bytes.NewReader(s.tmpfs)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.records = []entity{
		{0, rooted()},
		{1, &specs.Task{PID: 1, State: "running", Memory: 3, FDs: 4, FS: 6, Exe: 7, Threads: []specs.ID{2}}},
		{2, &specs.Thread{TID: 1, Registers: fill(1)[:216]}},
		{3, &specs.Memory{Areas: []specs.Area{{Start: 1 << 30, End: 3 << 30, Kind: "anon"}}, Pages: s.extents}},
		{4, &specs.FDs{}},
		{6, &specs.FS{Cwd: "/", Root: "/"}},
		{7, &specs.Regular{Path: "/bin/sh", Mode: 0o100755}},
		{0, &specs.Tmpfs{Point: "/tmp", Archive: "tmpfs-1.tar", Bytes: int64(len(s.tmpfs))}},
	}
	for _, r := range s.records {
		if err := w.Put(r.ID, r.Record); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// straight makes a stream without a directory.
func straight(t testing.TB, c Codec) sent {
	t.Helper()
	return straightOf(t, c, 40)
}

func straightOf(t testing.TB, c Codec, size int) sent {
	t.Helper()
	var b bytes.Buffer
	w, err := CreateStream(&b, c)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	s := buildStream(t, w, size)
	if b.Len() > 0 {
		t.Errorf("%d bytes were sent before the end of the records", b.Len())
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.stream = bytes.Clone(b.Bytes())
	stats, err := w.Commit(t.Context())
	if err != nil || stats.Records != len(s.records) || stats.Files != 4 || stats.MemberBytes != int64(len(s.tmpfs)) ||
		stats.PageBytes != int64((2*size+size/4)*os.Getpagesize()) {
		t.Errorf("%+v, %v", stats, err)
	}
	if b.Len() != len(s.stream) {
		t.Error("the stream was not complete with the Seal")
	}
	return s
}

// drain asks for everything, in order, as a restore does; got is what it gave out.
func drain(r *Reader) (tmpfs []byte, pages [][]byte, err error) {
	for _, m := range Each[*specs.Tmpfs](r) {
		file, err := r.Contents(m.Archive)
		if err != nil {
			return nil, nil, err
		}
		tmpfs, err = io.ReadAll(io.NewSectionReader(file, 0, r.sizes[m.Archive]))
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, nil, err
		}
	}
	for _, m := range Each[*specs.Memory](r) {
		half := len(m.Pages) / 2
		err := r.Extents(m.Pages[:half], func(_ uint64, b []byte) error {
			pages = append(pages, bytes.Clone(b))
			return nil
		})
		if err != nil {
			return tmpfs, pages, err
		}
		loaded, err := r.Load(m.Pages[half:])
		if err != nil {
			return tmpfs, pages, err
		}
		for i, e := range loaded {
			if e.Start != m.Pages[half+i].Start {
				return tmpfs, pages, fmt.Errorf("extent %d moved to %#x", i, e.Start)
			}
			file, err := r.PagesFile(e.File)
			if err != nil {
				return tmpfs, pages, err
			}
			b := make([]byte, e.Count*uint64(r.header.PageSize))
			if _, err := file.ReadAt(b, int64(e.Offset)); err != nil {
				return tmpfs, pages, err
			}
			pages = append(pages, b)
		}
	}
	return tmpfs, pages, r.Finish()
}

func TestStraight(t *testing.T) {
	for _, c := range []Codec{Zstd, Gzip, None} {
		s := straight(t, c)
		r, err := OpenStream(t.Context(), iotest.HalfReader(bytes.NewReader(s.stream)))
		if err != nil {
			t.Fatal(err)
		}
		tmpfs, pages, err := drain(r)
		if err != nil || !bytes.Equal(tmpfs, s.tmpfs) || !slices.EqualFunc(pages, s.pages, bytes.Equal) {
			t.Errorf("%s: %v, or other contents", c, err)
		}
		if err := r.Finish(); err != nil {
			t.Errorf("a second end: %v", err)
		}
		r.Close()
		// The same stream is a directory.
		dir := filepath.Join(t.TempDir(), "checkpoint")
		if _, err := Receive(t.Context(), bytes.NewReader(s.stream), dir); err != nil {
			t.Fatal(err)
		}
		landed := open(t, dir)
		if err := landed.Verify(t.Context(), nil); err != nil {
			t.Error(err)
		}
		tmpfs, pages, err = drain(landed)
		if err != nil || !bytes.Equal(tmpfs, s.tmpfs) || !slices.EqualFunc(pages, s.pages, bytes.Equal) {
			t.Errorf("%s: %v, or other contents in the directory", c, err)
		}
		var got []entity
		for id, record := range landed.All() {
			got = append(got, entity{id, record})
		}
		if diff := cmp.Diff(s.records, got); diff != "" {
			t.Error(diff)
		}
	}
}

// TestStraightIsOneArchive lists a stream as tar does.
func TestStraightIsOneArchive(t *testing.T) {
	s := straight(t, None)
	var names []string
	for archive := tar.NewReader(bytes.NewReader(s.stream)); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	if want := []string{"image.rt", "tmpfs-1.tar", "pages-1.rp", "pages-2.rp"}; !slices.Equal(names, want) {
		t.Errorf("it has %q, want %q", names, want)
	}
	// Behind entries of somebody else, it is their archive's.
	var b bytes.Buffer
	front := tar.NewWriter(&b)
	if err := front.WriteHeader(&tar.Header{Name: "config.json", Size: 2}); err != nil {
		t.Fatal(err)
	}
	front.Write([]byte("{}"))
	front.Flush()
	archive := tar.NewReader(io.MultiReader(&b, bytes.NewReader(s.stream)))
	for i := range 5 {
		if _, err := archive.Next(); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}

func TestStreamLands(t *testing.T) {
	s := straight(t, Zstd)
	parent := t.TempDir()
	r, err := OpenStream(t.Context(), bytes.NewReader(s.stream))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Land(t.Context(), filepath.Join(parent, "image")); err != nil {
		t.Fatal(err)
	}
	if err := open(t, filepath.Join(parent, "image")).Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	only(t, parent, "image")
	// Cut off, it lands nowhere; and not when it has been read from.
	r, err = OpenStream(t.Context(), bytes.NewReader(s.stream[:len(s.stream)-100]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Land(t.Context(), filepath.Join(parent, "other")); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	r, err = OpenStream(t.Context(), bytes.NewReader(s.stream))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := drain(r); err != nil {
		t.Error(err)
	}
	if _, err := r.Land(t.Context(), filepath.Join(parent, "third")); err == nil {
		t.Error("it landed twice")
	}
	only(t, parent, "image")
}

// borders are where the entries of a tar begin and their contents end.
func borders(t *testing.T, stream []byte) (begin, end []int) {
	t.Helper()
	source := bytes.NewReader(stream)
	for archive := tar.NewReader(source); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return begin, end
		}
		if err != nil {
			t.Fatal(err)
		}
		at := len(stream) - source.Len()
		begin, end = append(begin, at-512), append(end, at+int(header.Size))
	}
}

// TestStraightCutOff cuts a stream at and around the borders of its entries, and in
// many other places.
func TestStraightCutOff(t *testing.T) {
	for _, c := range []Codec{Zstd, Gzip, None} {
		s := straight(t, c)
		places := []int{0, 1, 511}
		for at := 4000; at < len(s.stream); at += len(s.stream)/60 + 1 {
			places = append(places, at)
		}
		if c == None {
			begin, end := borders(t, s.stream)
			for _, at := range slices.Concat(begin[1:], end) {
				places = append(places, at-1, at, at+1, at+511, at+512)
			}
		}
		for _, at := range places {
			// The two blocks of zeros at the end are no content.
			if at >= len(s.stream)-1024 && c == None {
				continue
			}
			err := drainAll(t, s, s.stream[:at])
			if !errors.Is(err, ErrTruncated) && !(at == 0 && errors.Is(err, ErrNotImage)) {
				t.Errorf("%s, %d of %d bytes: %v", c, at, len(s.stream), err)
			}
		}
	}
}

// drainAll reads a stream that is not as it was, and fails the test if it gives out pages
// that are not.
func drainAll(t *testing.T, s sent, stream []byte) error {
	t.Helper()
	r, err := OpenStream(t.Context(), bytes.NewReader(stream))
	if err != nil {
		return err
	}
	defer r.Close()
	_, pages, err := drain(r)
	for i, b := range pages {
		if i < len(s.pages) && !bytes.Equal(b, s.pages[i]) {
			t.Errorf("extent %d was given out and is damaged", i)
		}
	}
	return err
}

// TestStraightDamaged flips bits all over a stream.
func TestStraightDamaged(t *testing.T) {
	s := straight(t, None)
	begin, end := borders(t, s.stream)
	padding := func(at int) bool {
		for i := range end {
			if next := append(begin, len(s.stream))[i+1]; at >= end[i] && at < next && i+1 < len(begin) {
				return true
			}
		}
		return at >= end[len(end)-1]
	}
	damaged := bytes.Clone(s.stream)
	for at := 0; at < len(damaged); at += 1 + at%397 {
		if padding(at) {
			continue
		}
		damaged[at] ^= 1 << (at % 8)
		if err := drainAll(t, s, damaged); !typed(err) {
			t.Errorf("byte %d of %d: %v", at, len(damaged), err)
		}
		damaged[at] = s.stream[at]
	}
	if err := drainAll(t, s, append(damaged, "more"...)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with more behind it: %v", err)
	}
	for _, c := range []Codec{Zstd, Gzip} {
		z := straight(t, c)
		for at := 0; at < len(z.stream); at += len(z.stream)/50 + 1 {
			damaged := bytes.Clone(z.stream)
			damaged[at] ^= 0x10
			if err := drainAll(t, z, damaged); err != nil && !typed(err) {
				t.Errorf("%s, byte %d: %v", c, at, err)
			}
		}
	}
}

// TestStraightOrder asks for contents in other orders.
func TestStraightOrder(t *testing.T) {
	s := straight(t, None)
	read := func(e ...specs.Extent) func(*Reader) error {
		return func(r *Reader) error { return r.Extents(e, func(uint64, []byte) error { return nil }) }
	}
	load := func(e ...specs.Extent) func(*Reader) error {
		return func(r *Reader) error { _, err := r.Load(e); return err }
	}
	member := func(r *Reader) error {
		file, err := r.Contents("tmpfs-1.tar")
		if err == nil {
			_, err = file.ReadAt(make([]byte, 10), 0)
		}
		return err
	}
	first, later, last := s.extents[0], s.extents[3], s.extents[len(s.extents)-1]
	long := specs.Extent{Start: 1 << 40, Count: MaxAppend/uint64(os.Getpagesize()) + 1, File: 1}
	for name, c := range map[string]struct {
		steps []func(*Reader) error
		want  error
	}{
		"forward":           {[]func(*Reader) error{member, read(first), load(later), read(last)}, nil},
		"some left out":     {[]func(*Reader) error{read(later), read(last)}, nil},
		"nothing":           {nil, nil},
		"backward":          {[]func(*Reader) error{read(later), read(first)}, ErrOrder},
		"twice":             {[]func(*Reader) error{read(first), read(first)}, ErrOrder},
		"backward, loaded":  {[]func(*Reader) error{load(later), load(first)}, ErrOrder},
		"file before":       {[]func(*Reader) error{read(last), read(later)}, ErrOrder},
		"member too late":   {[]func(*Reader) error{read(first), member}, ErrOrder},
		"too long":          {[]func(*Reader) error{read(long)}, ErrOrder},
		"too long a window": {[]func(*Reader) error{load(long)}, ErrOrder},
		"file itself":       {[]func(*Reader) error{func(r *Reader) error { _, err := r.PagesFile(1); return err }}, ErrOrder},
		"an unknown file":   {[]func(*Reader) error{read(specs.Extent{Count: 1, File: 9})}, ErrOrder},
	} {
		r, err := OpenStream(t.Context(), bytes.NewReader(s.stream))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range c.steps {
			if err == nil {
				err = step(r)
			}
		}
		if err == nil {
			err = r.Finish()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
	a, _ := (&Reader{stream: nil, contents: &contents{header: header()}}).Position(last)
	if a != [2]uint64{} {
		t.Errorf("in a directory something is at %v", a)
	}
}

// fickle gives other bytes when it is asked again.
type fickle struct{ b []byte }

func (f *fickle) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(b, at)
}

// TestStraightChanges: what is read for the second time is not what it was.
func TestStraightChanges(t *testing.T) {
	page := os.Getpagesize()
	calls := 0
	for name, c := range map[string]struct {
		pages func(*fickle)
		fill  func(io.Writer) error
		want  error
	}{
		"pages":         {pages: func(f *fickle) { f.b[page]++ }, want: errChanged},
		"pages shorter": {pages: func(f *fickle) { f.b = f.b[:page] }, want: io.ErrUnexpectedEOF},
		"member":        {fill: func(w io.Writer) error { calls++; _, err := fmt.Fprint(w, calls); return err }, want: errChanged},
		"member longer": {fill: func(w io.Writer) error { calls++; _, err := w.Write(make([]byte, calls)); return err }, want: errChanged},
		"member shorter": {fill: func(w io.Writer) error { calls--; _, err := w.Write(make([]byte, 100+calls)); return err },
			want: errChanged},
		"member fails": {fill: func(io.Writer) error {
			if calls++; calls > 1 {
				return io.ErrNoProgress
			}
			return nil
		}, want: io.ErrNoProgress},
	} {
		calls = 0
		w, err := CreateStream(io.Discard, None)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Put(0, header()); err != nil {
			t.Fatal(err)
		}
		if c.fill != nil {
			err = w.Fill("tmpfs-1.tar", c.fill)
		}
		if c.pages != nil {
			source := &fickle{fill(3)}
			var pages *Pages
			if pages, err = w.Pages(); err == nil {
				_, err = pages.Append(fill(3), source, 0)
			}
			c.pages(source)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Seal(t.Context()); err == nil {
			t.Errorf("%s: it can be sealed afterwards", name)
		}
	}
}

// TestStraightFails: what takes the stream takes no more, or nobody wants it.
func TestStraightFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	for name, c := range map[string]struct {
		to   io.Writer
		ctx  context.Context
		want error
	}{
		"cancelled": {io.Discard, ctx, context.Canceled},
		"closed":    {w, t.Context(), io.ErrClosedPipe},
	} {
		for _, codec := range []Codec{None, Zstd, Gzip} {
			out, err := CreateStream(c.to, codec)
			if err != nil {
				t.Fatal(err)
			}
			buildStream(t, out, 40)
			if err := out.Seal(c.ctx); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v", name, codec, err)
			}
			if _, err := out.Commit(t.Context()); err == nil {
				t.Errorf("%s, %s: it was committed then", name, codec)
			}
		}
	}
	out, err := CreateStream(io.Discard, None)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := out.Pages()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 100, MaxAppend + os.Getpagesize()} {
		if _, err := pages.Append(make([]byte, size), nil, 0); err == nil {
			t.Errorf("%d bytes were appended", size)
		}
	}
	if _, err := out.Member("tmpfs-1.tar"); err == nil {
		t.Error("a stream has a file")
	}
	if _, err := CreateStream(io.Discard, "lzma"); err == nil {
		t.Error("lzma is known")
	}
}

func FuzzOpenStream(f *testing.F) {
	whole := straightOf(f, None, 1).stream
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(straightOf(f, Zstd, 1).stream)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := OpenStream(t.Context(), bytes.NewReader(b))
		if err != nil {
			if !typed(err) {
				t.Error(err)
			}
			return
		}
		defer r.Close()
		_, _, _ = drain(r)
		_ = r.Damage()
	})
}

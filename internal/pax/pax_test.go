package pax

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample are headers of every type, and the data behind them.
func sample() ([]Header, map[string]string) {
	long := strings.Repeat("long/", 60) + "name"
	list := []Header{
		{Name: ".", Type: Directory, Mode: 0o1777, Mtime: -86399777777774, Atime: 1},
		{Name: "file", Type: Regular, Mode: 0o6755, UID: 4294967294, GID: 99, Size: 5, Mtime: 1500000000222222222, Atime: -1,
			Xattrs: []Xattr{{"user.a=b%", "x\x00=\n"}, {"security.capability", "\x01\x00"}}, Flags: 0x10},
		{Name: "empty", Type: Regular, Full: true},
		{Name: "sparse", Type: Regular, Size: 1 << 40, Sparse: true, Data: []Range{{4096, 3}, {1 << 39, 600}}},
		{Name: "hole", Type: Regular, Size: 1 << 30, Sparse: true},
		{Name: "odd \n\t\\ \xff\xc3\xa9", Type: Regular, Size: 1},
		{Name: "hard", Type: HardLink, Link: "file"},
		{Name: "soft", Type: Symlink, Link: "../" + long},
		{Name: "char", Type: Char, Mode: 0o666, Major: 4095, Minor: 1048575},
		{Name: "block", Type: Block, Major: 7, Minor: 1},
		{Name: "fifo", Type: FIFO},
		{Name: "socket", Type: Socket, Mode: 0o611},
		{Name: "gone", Type: Whiteout},
		{Name: "new", Type: Directory, Opaque: true},
		{Name: "pts", Type: Directory, Mountpoint: true},
		{Name: long, Type: Regular, Size: 1024},
	}
	return list, map[string]string{
		"file": "hello", "sparse": "abc" + strings.Repeat("z", 600), "odd \n\t\\ \xff\xc3\xa9": "!", long: strings.Repeat("0", 1024),
	}
}

func write(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	list, data := sample()
	for i := range list {
		if err := w.Header(&list[i]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, strings.NewReader(data[list[i].Name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Written() != int64(b.Len()) || w.Entries() != int64(len(list)) {
		t.Errorf("%d bytes and %d entries are told of, not %d and %d", w.Written(), w.Entries(), b.Len(), len(list))
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	b := write(t)
	r := NewReader(bytes.NewReader(b), 0, int64(len(b)))
	list, data := sample()
	for _, want := range list {
		e, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		if diff := cmp.Diff(want, e.Header); diff != "" {
			t.Error(diff)
		}
		if got := string(b[e.At : e.At+e.dataSize()]); got != data[want.Name] {
			t.Errorf("%s: %q", want.Name, got)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// TestStandard has the standard library read what we write.
func TestStandard(t *testing.T) {
	list, data := sample()
	r := tar.NewReader(bytes.NewReader(write(t)))
	for _, want := range list {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		if strings.TrimSuffix(h.Name, "/") != want.Name || h.Size != want.Size || h.Mode&0o7777 != int64(want.Mode) || h.ModTime.UnixNano() != want.Mtime ||
			uint32(h.Uid) != want.UID || h.Linkname != want.Link || uint32(h.Devmajor) != want.Major || uint32(h.Devminor) != want.Minor {
			t.Errorf("%+v was read as %+v", want, h)
		}
		if want.Size > 1<<20 {
			b := make([]byte, 4096+3)
			if _, err := io.ReadFull(r, b); err != nil || (len(want.Data) > 0 && string(b[4096:]) != "abc") {
				t.Errorf("%s: %v", want.Name, err)
			}
			if want.Size > 1<<30 {
				continue
			}
		} else if b, err := io.ReadAll(r); err != nil || string(b) != data[want.Name] {
			t.Errorf("%s: %q, %v", want.Name, b, err)
		}
	}
}

func TestMissingData(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Header(&Header{Name: "x", Type: Regular, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("four")); err == nil {
		t.Error("too much was taken")
	}
	if err := w.Close(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Close: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"..", "a/../b", "/a", "a//b", "a/", "", "a/./b"} {
		var b bytes.Buffer
		w := NewWriter(&b)
		if err := w.Header(&Header{Name: name, Type: Directory}); err != nil {
			t.Fatal(err)
		}
		if _, err := NewReader(bytes.NewReader(b.Bytes()), 0, int64(b.Len())).Next(); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	// Short seeds: the fuzzer would spend its time on making long ones shorter.
	for _, h := range []Header{
		{Name: "d", Type: Directory, Mode: 0o755}, {Name: "f", Type: Regular, Size: 3, UID: 1 << 31},
		{Name: "x", Type: Regular, Size: 3, Xattrs: []Xattr{{"user.a=b%", "x\x00=\n"}}},
		{Name: strings.Repeat("long/", 40) + "name", Type: Regular, Size: 3},
	} {
		var b bytes.Buffer
		w := NewWriter(&b)
		if err := w.Header(&h); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), 0, int64(len(b)))
		for {
			e, err := r.Next()
			if err != nil {
				if err != io.EOF && !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
				return
			}
			if e.At < 0 || e.dataSize() < 0 || e.At+e.dataSize() > int64(len(b)) {
				t.Fatalf("data at %d, %d bytes", e.At, e.dataSize())
			}
		}
	})
}

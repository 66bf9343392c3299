package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/specs"
)

// stream is the small tree as a stream.
func stream(t testing.TB, c Codec) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	var b bytes.Buffer
	if err := WriteTo(t.Context(), open(t, dir), &b, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStreams(t *testing.T) {
	for _, c := range []Codec{Zstd, Gzip, None, ""} {
		t.Run(string(c), func(t *testing.T) {
			from := filepath.Join(t.TempDir(), "checkpoint")
			commit(t, from)
			var b, again bytes.Buffer
			if err := WriteTo(t.Context(), open(t, from), &b, c); err != nil {
				t.Fatal(err)
			}
			parent := t.TempDir()
			to := filepath.Join(parent, "copy")
			stats, err := Receive(t.Context(), iotest.HalfReader(&b), to)
			if err != nil {
				t.Fatal(err)
			}
			only(t, parent, "copy")
			if stats.Files != 4 || stats.Records != 10 || stats.MemberBytes != 19 {
				t.Errorf("%+v", stats)
			}
			r := open(t, to)
			if err := r.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			names, err := os.ReadDir(to)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				want, _ := os.ReadFile(filepath.Join(from, name.Name()))
				got, err := os.ReadFile(filepath.Join(to, name.Name()))
				if !bytes.Equal(want, got) || err != nil {
					t.Errorf("%s differs: %v", name.Name(), err)
				}
				if info, _ := name.Info(); info.Mode() != 0o600 {
					t.Errorf("%s has mode %v", name.Name(), info.Mode())
				}
			}
			// The same image is the same stream, and replaces what is there.
			if err := WriteTo(t.Context(), r, &again, None); err != nil {
				t.Fatal(err)
			}
			if stats, err = Receive(t.Context(), &again, to); err != nil || !stats.Replaced {
				t.Error(stats, err)
			}
		})
	}
	if _, err := ParseCodec("lzma"); err == nil || !strings.Contains(err.Error(), "zstd, gzip, none") {
		t.Error(err)
	}
}

func TestStreamCutOff(t *testing.T) {
	for _, c := range []Codec{Zstd, Gzip, None} {
		whole := stream(t, c)
		parent := t.TempDir()
		step := len(whole)/40 + 1
		for size := 0; size < len(whole)-1; size += step {
			_, err := Receive(t.Context(), bytes.NewReader(whole[:size]), filepath.Join(parent, "copy"))
			if !errors.Is(err, ErrTruncated) && !(size == 0 && errors.Is(err, ErrNotImage)) {
				// The two blocks of zeros at the end are no content.
				if c == None && size >= len(whole)-1024 && err == nil {
					os.RemoveAll(filepath.Join(parent, "copy"))
					continue
				}
				t.Errorf("%s, %d bytes of %d: %v", c, size, len(whole), err)
			}
			only(t, parent)
		}
	}
}

func TestStreamBreaks(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []Codec{Zstd, Gzip, None} {
		whole := stream(t, c)
		for _, size := range []int{0, len(whole) / 2, len(whole) - 1} {
			parent := t.TempDir()
			from := io.MultiReader(bytes.NewReader(whole[:size]), iotest.ErrReader(broken))
			_, err := Receive(t.Context(), from, filepath.Join(parent, "copy"))
			if !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", c, size, err)
			}
			only(t, parent)
		}
	}
}

func TestWritingStreamFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	r := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteTo(ctx, r, io.Discard, Zstd); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	pipe, into := io.Pipe()
	pipe.CloseWithError(io.ErrClosedPipe)
	if err := WriteTo(t.Context(), r, into, None); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if err := flip(5)(filepath.Join(dir, "pages-1.rp")); err != nil {
		t.Fatal(err)
	}
	if err := WriteTo(t.Context(), r, io.Discard, None); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// archived is one entry of a hostile stream.
type archived struct {
	header tar.Header
	data   string
}

func TestHostileStreams(t *testing.T) {
	plain := stream(t, None)
	var good []archived
	for archive := tar.NewReader(bytes.NewReader(plain)); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, archived{tar.Header{Name: header.Name, Typeflag: tar.TypeReg, Size: header.Size, Mode: 0o600}, string(data)})
	}
	file := func(name, data string) archived {
		return archived{tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data))}, data}
	}
	with := func(more ...archived) []archived { return append(append([]archived{}, good...), more...) }
	but := func(i int, e archived) []archived {
		list := append([]archived{}, good...)
		list[i] = e
		return list
	}
	for name, c := range map[string]struct {
		entries []archived
		want    error
	}{
		"good":                {good, nil},
		"any order":           {[]archived{good[0], good[3], good[1], good[2]}, nil},
		"members first":       {[]archived{good[1], good[0], good[2], good[3]}, ErrNotImage},
		"nothing":             {nil, ErrNotImage},
		"another archive":     {[]archived{file("readme.txt", "hello")}, ErrNotImage},
		"image.rt is none":    {[]archived{file("image.rt", strings.Repeat("x", 4096))}, ErrNotImage},
		"image.rt is empty":   {[]archived{file("image.rt", "")}, ErrNotImage},
		"member missing":      {good[:3], ErrTruncated},
		"member twice":        {with(good[1]), ErrCorrupt},
		"image.rt twice":      {with(good[0]), ErrCorrupt},
		"a file more":         {with(file("tmpfs-2.tar", "x")), ErrCorrupt},
		"shorter":             {but(1, file(good[1].header.Name, "short")), ErrCorrupt},
		"changed":             {but(3, file(good[3].header.Name, strings.ToUpper(good[3].data))), ErrCorrupt},
		"records changed":     {but(0, file("image.rt", good[0].data[:200]+"?"+good[0].data[201:])), ErrCorrupt},
		"records cut":         {but(0, file("image.rt", good[0].data[:200])), ErrTruncated},
		"path upwards":        {but(1, file("../pages-1.rp", good[1].data)), ErrCorrupt},
		"absolute path":       {but(1, file("/etc/passwd", good[1].data)), ErrCorrupt},
		"path with a dot":     {but(1, file("./pages-1.rp", good[1].data)), ErrCorrupt},
		"path downwards":      {but(1, file("x/pages-1.rp", good[1].data)), ErrCorrupt},
		"hidden":              {with(file(".bashrc", "x")), ErrCorrupt},
		"a NUL":               {with(archived{tar.Header{Name: "a\nb", Typeflag: tar.TypeReg}, ""}), ErrCorrupt},
		"symbolic link":       {but(1, archived{tar.Header{Name: "pages-1.rp", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}), ErrCorrupt},
		"hard link":           {but(1, archived{tar.Header{Name: "pages-1.rp", Typeflag: tar.TypeLink, Linkname: "image.rt"}, ""}), ErrCorrupt},
		"device":              {but(1, archived{tar.Header{Name: "pages-1.rp", Typeflag: tar.TypeBlock, Devmajor: 8}, ""}), ErrCorrupt},
		"FIFO":                {but(1, archived{tar.Header{Name: "pages-1.rp", Typeflag: tar.TypeFifo}, ""}), ErrCorrupt},
		"directory":           {with(archived{tar.Header{Name: "pages-9", Typeflag: tar.TypeDir}, ""}), ErrCorrupt},
		"attributes":          {but(1, archived{tar.Header{Name: good[1].header.Name, Typeflag: tar.TypeReg, Size: good[1].header.Size, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}, good[1].data}), ErrCorrupt},
		"image.rt of 32 GiB":  {[]archived{{tar.Header{Name: "image.rt", Typeflag: tar.TypeReg, Size: 32 << 30}, ""}}, ErrCorrupt},
		"image.rt then ended": {[]archived{{tar.Header{Name: "image.rt", Typeflag: tar.TypeReg, Size: 1 << 20}, good[0].data}}, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			archive := tar.NewWriter(&b)
			for _, e := range c.entries {
				if err := archive.WriteHeader(&e.header); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(archive, e.data); err != nil {
					t.Fatal(err)
				}
			}
			archive.Close()
			whole := bytes.Clone(b.Bytes())
			parent := t.TempDir()
			_, err := Receive(t.Context(), &b, filepath.Join(parent, "copy"))
			if !errors.Is(err, c.want) || c.want != nil && !typed(err) {
				t.Errorf("%v", err)
			}
			if c.want != nil {
				only(t, parent)
			}
			// Read as it comes, it has to be in order too.
			want := c.want
			if name == "any order" {
				want = ErrCorrupt
			}
			r, err := OpenStream(t.Context(), bytes.NewReader(whole))
			if err == nil {
				defer r.Close()
				err = r.Finish()
			}
			if !errors.Is(err, want) || want != nil && !typed(err) {
				t.Errorf("as it comes: %v", err)
			}
		})
	}
	b := append(bytes.Clone(plain), "and more"...)
	if _, err := Receive(t.Context(), bytes.NewReader(b), filepath.Join(t.TempDir(), "copy")); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestNoDescriptorStaysOfStreams(t *testing.T) {
	whole := stream(t, Zstd)
	before := descriptors(t)
	for _, b := range [][]byte{whole, whole[:len(whole)/2], nil} {
		dir := filepath.Join(t.TempDir(), "copy")
		if _, err := Receive(t.Context(), bytes.NewReader(b), dir); err == nil {
			r, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			WriteTo(t.Context(), r, io.Discard, Gzip)
			r.Close()
		}
		if r, err := OpenStream(t.Context(), bytes.NewReader(b)); err == nil {
			drain(r)
			r.Close()
		}
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Error(diff)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"tmpfs-1.tar": true, "pages-1.rp": true, "a": true, "config.json": true, "pages-4294967295.rp": true,
		"": false, "A": false, "1a": false, "-a": false, "a/b": false, "..": false, ".": false, "a b": false,
		"pages-0.rp": false, "pages-01.rp": false, "pages-+1.rp": false, "pages-4294967296.rp": false, "pages-.rp": false,
		"image.rt": false, "x.partial": false, "é": false, "a\x00": false, strings.Repeat("a", specs.MaxName+1): false,
	} {
		if err := checkMember(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
}

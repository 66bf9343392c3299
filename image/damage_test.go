package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

// typed tells whether err is one of the kinds that an image can be bad in, and
// carries the place.
func typed(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Path == "" || !strings.Contains(err.Error(), e.Path) {
		return false
	}
	return errors.Is(err, ErrNotImage) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)
}

// read is scan and newContents on bytes.
func read(b []byte) (*contents, error) {
	s, err := scan(bytes.NewReader(b), int64(len(b)), "image.rt")
	if err != nil {
		return nil, err
	}
	return newContents(s)
}

// rewrite makes a whole image.rt of the given frames: index and digest are right
// whatever the frames are.
func rewrite(frames ...[]byte) []byte {
	b := appendPrologue(nil)
	var entries []entry
	for _, f := range frames {
		e, length := parseRecordHeader(f)
		e.offset, e.length = int64(len(b)), int64(length)
		entries = append(entries, e)
		b = append(b, f...)
	}
	return finish(b, entries)
}

// finish adds index and digest.
func finish(b []byte, entries []entry) []byte {
	d := digest{index: uint64(len(b))}
	b = appendRecord(b, specs.TypeIndex, 0, appendIndex(nil, entries))
	d.sum = sha256.Sum256(b)
	d.size = uint64(int64(len(b)) + frameSize(specs.DigestSize))
	return appendRecord(b, specs.TypeDigest, 0, d.append(nil))
}

// frame is one record as it stands in the file.
func frame(t testing.TB, id specs.ID, r specs.Record) []byte {
	t.Helper()
	p, err := newPayloads()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := p.encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return appendRecord(nil, r.RecordType(), id, payload)
}

// imageFile is the image.rt of the small tree.
func imageFile(t testing.TB) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, specs.ImageFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTruncatedAnywhere(t *testing.T) {
	whole := imageFile(t)
	if _, err := read(whole); err != nil {
		t.Fatal(err)
	}
	for size := range whole {
		want := ErrTruncated
		if size == 0 {
			want = ErrNotImage
		}
		if _, err := read(whole[:size]); !errors.Is(err, want) || !typed(err) {
			t.Fatalf("%d bytes of %d: %v", size, len(whole), err)
		}
	}
	if _, err := read(append(whole, make([]byte, 64)...)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with bytes behind the end: %v", err)
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	whole := imageFile(t)
	for i := range whole {
		for bit := range 8 {
			whole[i] ^= 1 << bit
			if _, err := read(whole); !typed(err) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
			whole[i] ^= 1 << bit
		}
	}
}

func TestDamagedMembers(t *testing.T) {
	page := os.Getpagesize()
	for name, c := range map[string]struct {
		file   string
		damage func(path string) error
		open   error
		verify error
		says   string
	}{
		"pages flipped":  {"pages-1.rp", flip(5), nil, ErrCorrupt, "pages-1.rp"},
		"last byte":      {"pages-2.rp", flip(4*page - 1), nil, ErrCorrupt, "pages-2.rp"},
		"member flipped": {"tmpfs-1.tar", flip(3), nil, ErrCorrupt, "tmpfs-1.tar"},
		"pages cut":      {"pages-1.rp", func(p string) error { return os.Truncate(p, int64(page)) }, ErrTruncated, nil, "copy the image again"},
		"pages longer":   {"pages-1.rp", func(p string) error { return os.Truncate(p, 1<<20) }, ErrCorrupt, nil, "1048576 bytes"},
		"pages missing":  {"pages-2.rp", os.Remove, ErrTruncated, nil, "missing"},
		"no records":     {specs.ImageFile, os.Remove, ErrNotImage, nil, specs.ImageFile},
		"a link": {"tmpfs-1.tar", func(p string) error {
			return errors.Join(os.Rename(p, p+".x"), os.Symlink(filepath.Base(p)+".x", p))
		}, errors.ErrUnsupported, nil, "tmpfs-1.tar"},
		"a directory": {"tmpfs-1.tar", func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
			errors.ErrUnsupported, nil, "not a plain file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "checkpoint")
			commit(t, dir)
			if err := c.damage(filepath.Join(dir, c.file)); err != nil {
				t.Fatal(err)
			}
			r, err := Open(dir)
			if c.open != nil {
				if err == nil || c.open != errors.ErrUnsupported && !errors.Is(err, c.open) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Verify(t.Context(), nil); !errors.Is(err, c.verify) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func flip(at int) func(string) error {
	return func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[at] ^= 0x10
		return os.WriteFile(path, b, 0o600)
	}
}

func TestVerifyReadsAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	var last, total, calls int64
	err := open(t, dir).Verify(t.Context(), func(done, all int64) {
		if done < last || done > all {
			t.Errorf("%d of %d after %d", done, all, last)
		}
		last, total, calls = done, all, calls+1
	})
	if err != nil || last != total || calls == 0 {
		t.Errorf("%d of %d in %d calls: %v", last, total, calls, err)
	}
}

// TestRefused gives images whose sums are all right and whose contents are not.
func TestRefused(t *testing.T) {
	page := uint64(os.Getpagesize())
	sum := make([]byte, sumSize)
	head := frame(t, 0, header())
	none := frame(t, 0, &specs.Members{})
	one := frame(t, 0, &specs.Members{Files: []specs.Member{{Name: "pages-1.rp", Size: int64(4 * page), Sum: sum}}})
	members := func(files ...specs.Member) []byte { return frame(t, 0, &specs.Members{Files: files}) }
	areas := []specs.Area{{Start: page, End: 1 << 50, Kind: "anon"}}
	memory := func(e ...specs.Extent) [][]byte {
		return [][]byte{head, frame(t, 2, &specs.Memory{}), frame(t, 1, &specs.Memory{Areas: areas, Pages: e, Parent: 2}), one}
	}
	flagged := appendRecord(nil, specs.TypeUTS, 0, []byte{0xa0})
	flagged[4] = 1
	flagged = append(flagged[:len(flagged)-4], sumOf(flagged[:len(flagged)-4])...)
	for name, c := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"nothing wrong":        {memory(specs.Extent{Start: page, Count: 4, File: 1}), nil},
		"inherited":            {memory(specs.Extent{Start: page, Count: 1 << 30, Inherit: true}), nil},
		"no header":            {[][]byte{none}, ErrCorrupt},
		"header second":        {[][]byte{frame(t, 0, &specs.UTS{}), head, none}, ErrCorrupt},
		"two headers":          {[][]byte{head, head, none}, ErrCorrupt},
		"no members":           {[][]byte{head}, ErrCorrupt},
		"record after members": {[][]byte{head, none, frame(t, 0, &specs.UTS{})}, ErrCorrupt},
		"unknown type":         {[][]byte{head, appendRecord(nil, 9999, 0, []byte{0xa0}), none}, ErrVersion},
		"unknown framing type": {[][]byte{head, appendRecord(nil, 7, 0, []byte{0xa0}), none}, ErrVersion},
		"unknown key":          {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xa1, 0x18, 99, 1}), none}, ErrVersion},
		"unknown flag":         {[][]byte{head, flagged, none}, ErrVersion},
		"not CBOR":             {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xff}), none}, ErrCorrupt},
		"no payload":           {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, nil), none}, ErrCorrupt},
		"wrong CBOR":           {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xa1, 1, 5}), none}, ErrCorrupt},
		"CBOR and more":        {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xa0, 0}), none}, ErrCorrupt},
		"a key twice":          {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xa2, 1, 0x40, 1, 0x40}), none}, ErrCorrupt},
		"indefinite length":    {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xbf, 0xff}), none}, ErrCorrupt},
		"a tag":                {[][]byte{head, appendRecord(nil, specs.TypeUTS, 0, []byte{0xa1, 1, 0xc1, 0x40}), none}, ErrCorrupt},
		"an array of 2^31":     {[][]byte{head, appendRecord(nil, specs.TypeFDs, 0, []byte{0xa1, 1, 0x9a, 0x7f, 0xff, 0xff, 0xff}), none}, ErrCorrupt},
		"the same ID twice":    {[][]byte{head, frame(t, 1, &specs.UTS{}), frame(t, 1, &specs.UTS{}), none}, ErrCorrupt},
		"dangling reference":   {[][]byte{head, frame(t, 1, &specs.Task{Memory: 2}), none}, ErrCorrupt},
		"page size":            {[][]byte{frame(t, 0, &specs.Header{PageSize: 1000}), none}, ErrCorrupt},
		"no page size":         {[][]byte{frame(t, 0, &specs.Header{}), none}, ErrCorrupt},
		"archive missing":      {[][]byte{head, frame(t, 0, &specs.Tmpfs{Archive: "tmpfs-1.tar"}), none}, ErrCorrupt},
		"member with a path":   {[][]byte{head, members(specs.Member{Name: "../pages-1.rp", Sum: sum})}, ErrCorrupt},
		"member twice":         {[][]byte{head, members(specs.Member{Name: "a", Sum: sum}, specs.Member{Name: "a", Sum: sum})}, ErrCorrupt},
		"member of size -1":    {[][]byte{head, members(specs.Member{Name: "a", Size: -1, Sum: sum})}, ErrCorrupt},
		"member without sum":   {[][]byte{head, members(specs.Member{Name: "a"})}, ErrCorrupt},
		"member image.rt":      {[][]byte{head, members(specs.Member{Name: specs.ImageFile, Sum: sum})}, ErrCorrupt},
		"beyond the file":      {memory(specs.Extent{Start: page, Count: 5, File: 1}), ErrCorrupt},
		"beyond by offset":     {memory(specs.Extent{Start: page, Count: 1, File: 1, Offset: 4 * page}), ErrCorrupt},
		"offset overflows":     {memory(specs.Extent{Start: page, Count: 1, File: 1, Offset: math.MaxUint64 - page + 1}), ErrCorrupt},
		"count overflows":      {memory(specs.Extent{Start: page, Count: math.MaxUint64/page + 2, File: 1}), ErrCorrupt},
		"address overflows":    {memory(specs.Extent{Start: math.MaxUint64 - page + 1, Count: 2, File: 1}), ErrCorrupt},
		"crooked address":      {memory(specs.Extent{Start: 5, Count: 1, File: 1}), ErrCorrupt},
		"crooked offset":       {memory(specs.Extent{Start: page, Count: 1, File: 1, Offset: 7}), ErrCorrupt},
		"no pages":             {memory(specs.Extent{Start: page, File: 1}), ErrCorrupt},
		"no file":              {memory(specs.Extent{Start: page, Count: 1}), ErrCorrupt},
		"another file":         {memory(specs.Extent{Start: page, Count: 1, File: 2}), ErrCorrupt},
		"inherited with bytes": {memory(specs.Extent{Start: page, Count: 1, File: 1, Inherit: true}), ErrCorrupt},
		"pages twice":          {memory(specs.Extent{Start: page, Count: 4, File: 1}, specs.Extent{Start: 8 * page, Count: 1, File: 1}), ErrCorrupt},
		"overlap":              {memory(specs.Extent{Start: page, Count: 2, File: 1}, specs.Extent{Start: 2 * page, Count: 1, File: 1}), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(rewrite(c.frames...))
			if !errors.Is(err, c.want) || c.want != nil && !typed(err) {
				t.Error(err)
			}
		})
	}
}

// sumOf is the CRC32C of b as it ends a record.
func sumOf(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli()))
}

func TestOtherVersions(t *testing.T) {
	b := imageFile(t)
	for _, version := range []byte{0, specs.FormatVersion + 1} {
		b[8] = version
		_, err := read(b)
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "use the rethaw that wrote it") {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := read([]byte("ustar or whatever it is")); !errors.Is(err, ErrNotImage) {
		t.Error(err)
	}
}

package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/specs"
)

// key is an identity for tests.
func key(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// seal puts the small tree encrypted at dir.
func seal(t testing.TB, dir string, id *age.X25519Identity) *Reader {
	t.Helper()
	from := filepath.Join(t.TempDir(), "plain")
	commit(t, from)
	r := open(t, from)
	w, err := CreateSealed(dir, []sealed.Recipient{id.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := WriteTo(t.Context(), r, w, None); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealedDirectory(t *testing.T) {
	id, parent := key(t), t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	r := seal(t, dir, id)
	only(t, parent, "checkpoint")
	only(t, dir, specs.SealedFile)
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, specs.SealedFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if _, err := Open(dir); !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "--identity") {
		t.Errorf("opened as a plain one: %v", err)
	}
	file, err := OpenSealed(dir)
	if file == nil || err != nil {
		t.Fatal(file, err)
	}
	defer file.Close()
	plain, err := sealed.Decrypt(file, []sealed.Identity{id})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(parent, "copy")
	if _, err := Receive(t.Context(), plain, to); err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, r), digestOf(t, open(t, to)); a != b {
		t.Errorf("digests %s and %s", a, b)
	}
	// Each kind of image takes the place of the other.
	seal(t, to, id)
	only(t, to, specs.SealedFile)
	commit(t, to)
	if file, err := OpenSealed(to); file != nil || err != nil {
		t.Errorf("a plain image as an encrypted one: %v, %v", file, err)
	}
}

func TestSealedDirectoryFails(t *testing.T) {
	id, parent := key(t), t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	commit(t, dir)
	r := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w, err := CreateSealed(dir, []sealed.Recipient{id.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteTo(t.Context(), r, w, None); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	only(t, parent, "checkpoint")
	if err := open(t, dir).Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// A file of that name that is nothing encrypted is not replaced.
	other := filepath.Join(parent, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, specs.SealedFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateSealed(other, []sealed.Recipient{id.Recipient()}); !errors.Is(err, ErrOccupied) {
		t.Error(err)
	}
	if _, err := Create(other); !errors.Is(err, ErrOccupied) {
		t.Error(err)
	}
}

// TestForgedStreams: through each compression a change or an end too early is told as such.
func TestForgedStreams(t *testing.T) {
	id := key(t)
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	for _, c := range []Codec{Zstd, Gzip, None} {
		var b bytes.Buffer
		z, err := Compress(&b, c, []sealed.Recipient{id.Recipient()})
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteTo(t.Context(), open(t, dir), z, None); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		whole := b.Bytes()
		for name, text := range map[string][]byte{
			"flipped": append(append(bytes.Clone(whole[:len(whole)-9]), whole[len(whole)-9]^1), whole[len(whole)-8:]...),
			"cut":     whole[:len(whole)-100],
		} {
			parent := t.TempDir()
			plain, err := sealed.Decrypt(bytes.NewReader(text), []sealed.Identity{id})
			if err == nil {
				_, err = Receive(t.Context(), plain, filepath.Join(parent, "x"))
			}
			if !errors.Is(err, sealed.ErrForged) {
				t.Errorf("%s, %s: %v", c, name, err)
			}
			only(t, parent)
		}
	}
}

// digestOf is Digest that must succeed.
func digestOf(t testing.TB, r *Reader) string {
	t.Helper()
	d, err := r.Digest(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDigest: it is the same in each form, and another for each changed byte, even where the sums of
// the image have been made to fit.
func TestDigest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	commit(t, dir)
	r := open(t, dir)
	want := digestOf(t, r)
	if _, err := ParseDigest(want); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "sha256:", want[:70], want + "0", strings.ToUpper(want), "md5:" + want[7:], " " + want} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q is taken for a digest", bad)
		}
	}
	if err := r.CheckDigest(t.Context(), want); err != nil {
		t.Error(err)
	}
	if err := r.CheckDigest(t.Context(), want[:70]+"0"); want[70] != '0' && !errors.Is(err, ErrDigest) {
		t.Error(err)
	}
	for _, c := range []Codec{Zstd, Gzip, None} {
		pipe, w := io.Pipe()
		go func() { w.CloseWithError(WriteTo(context.Background(), r, w, c)) }()
		to := filepath.Join(t.TempDir(), "copy")
		if _, err := Receive(t.Context(), pipe, to); err != nil {
			t.Fatal(err)
		}
		if got := digestOf(t, open(t, to)); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, len(text) / 2, len(text) - 1} {
			bad := bytes.Clone(text)
			bad[at] ^= 1
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := digestOf(t, r); got == want {
				t.Errorf("%s, byte %d changed: the same digest", name.Name(), at)
			}
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := digestOf(t, r); got != want {
		t.Errorf("put back: %s, want %s", got, want)
	}
}

package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/layer"
	"github.com/rethaw/rethaw/internal/pax"
)

// entry is one of a prelude to be.
type entry struct {
	pax.Header
	text string
}

func doc(name, text string) entry { return entry{*document(name, len(text)), text} }

func dir(name string) entry {
	return entry{Header: pax.Header{Name: name, Type: pax.Directory, Mode: 0o755}}
}

// build writes entries and the end that fits them.
func build(t testing.TB, list ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pax.NewWriter(&b)
	add := func(e entry) {
		if e.Type == pax.Regular {
			e.Size = int64(len(e.text))
		}
		if err := w.Header(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range list {
		add(e)
	}
	sum := xxh3.Hash128(b.Bytes()).Bytes()
	end, err := json.Marshal(preludeSum{Entries: w.Entries(), XXH3: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	add(doc(preludeEnd, string(end)))
	return append(b.Bytes(), "the image"...)
}

const (
	runcOrigin   = `{"version":1,"engine":"runc","id":"web","rootfs":"overlay"}`
	plainConfig  = `{"ociVersion":"1.0.2","process":{"args":["/x"]},"root":{"path":"/elsewhere","readonly":true},"mounts":[]}`
	hookedConfig = `{"process":{},"root":{"path":"rootfs"},"hooks":{"prestart":[{"path":"/bin/evil"}]}}`
)

// emptyBundle is a bundle with or without a configuration.
func emptyBundle(t testing.TB, config string) string {
	t.Helper()
	b := filepath.Join(t.TempDir(), "bundle")
	err := os.MkdirAll(filepath.Join(b, "rootfs"), 0o755)
	if err == nil && config != "" {
		err = os.WriteFile(filepath.Join(b, "config.json"), []byte(config), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files are all names below a directory.
func files(t testing.TB, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// landIn has an import come down in a bundle.
func landIn(t testing.TB, bundle string, stream []byte, i Import) (*landing, Request, *bufio.Reader, error) {
	t.Helper()
	engines := &Registry{engines: []Engine{NewRunc("runc", t.TempDir())}}
	r := Request{Spec: Spec{Bundle: bundle}}
	from := bufio.NewReader(bytes.NewReader(stream))
	l, err := i.land(context.Background(), engines, &r, from)
	return l, r, from, err
}

// needRoot skips a test that changes owners.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners are only kept by root")
	}
}

// TestLanding: a prelude gives a bundle its configuration and its files, the stream is left at the image, and
// all can be taken back.
func TestLanding(t *testing.T) {
	needRoot(t)
	stream := build(t, doc(preludeOrigin, runcOrigin), doc(preludeConfig, plainConfig), dir("rootfs"), doc("rootfs/f", "text"))
	for _, keep := range []bool{false, true} {
		bundle := emptyBundle(t, "")
		before := files(t, bundle)
		l, r, from, err := landIn(t, bundle, stream, Import{})
		if err != nil {
			t.Fatal(err)
		}
		if r.Spec.ID != "web" {
			t.Errorf("the container is called %q", r.Spec.ID)
		}
		if rest, err := from.Peek(9); err != nil || string(rest) != "the image" {
			t.Errorf("the stream is left at %q, %v", rest, err)
		}
		if err := l.apply(context.Background()); err != nil {
			t.Fatal(err)
		}
		b, err := LoadBundle(bundle)
		if err != nil || b.Rootfs != filepath.Join(bundle, "rootfs") || !b.Config.Root.Readonly {
			t.Errorf("%+v, %v", b, err)
		}
		if text, err := os.ReadFile(filepath.Join(bundle, "rootfs/f")); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if keep {
			if err := l.commit(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := l.abandon(context.Background()); err != nil {
			t.Fatal(err)
		}
		if after := files(t, bundle); after != before {
			t.Errorf("%s\nbecame\n%s", before, after)
		}
	}
}

// TestHostilePrelude: what no export has is refused, with the kind that has its exit code, and nothing is made.
func TestHostilePrelude(t *testing.T) {
	needRoot(t)
	origin := doc(preludeOrigin, runcOrigin)
	link := func(name, to string) entry {
		return entry{Header: pax.Header{Name: name, Type: pax.Symlink, Link: to}}
	}
	good := build(t, origin, doc(preludeConfig, plainConfig), dir("rootfs"), doc("rootfs/f", "text"))
	podman := `{"version":1,"engine":"podman","id":"web","rootfs":"overlay","volumes":["v"]}`
	for name, one := range map[string]struct {
		stream []byte
		want   error
	}{
		"climbs":               {build(t, origin, dir("rootfs"), doc("rootfs/../../x", "x")), image.ErrCorrupt},
		"absolute":             {build(t, origin, dir("rootfs"), doc("/etc/x", "x")), image.ErrCorrupt},
		"elsewhere":            {build(t, origin, doc("etc/x", "x")), image.ErrCorrupt},
		"through a link":       {build(t, origin, dir("rootfs"), link("rootfs/l", "/"), doc("rootfs/l/x", "x")), image.ErrCorrupt},
		"device":               {build(t, origin, dir("rootfs"), entry{Header: pax.Header{Name: "rootfs/d", Type: pax.Block, Major: 8}}), image.ErrCorrupt},
		"twice":                {build(t, origin, dir("rootfs"), doc("rootfs/x", "x"), doc("rootfs/x", "y")), image.ErrCorrupt},
		"huge":                 {build(t, origin, dir("rootfs"), entry{Header: pax.Header{Name: "rootfs/x", Type: pax.Regular, Size: 1 << 62, Sparse: true, Data: []pax.Range{{Start: 1 << 61, Size: 0}}}}), nil},
		"volume":               {build(t, doc(preludeOrigin, podman), doc(preludeConfig, plainConfig), dir("volumes/v")), ErrBundle},
		"volume's name":        {build(t, origin, dir("volumes/.."), dir("volumes/../x")), image.ErrCorrupt},
		"no JSON":              {build(t, doc(preludeOrigin, "{")), image.ErrCorrupt},
		"another version":      {build(t, doc(preludeOrigin, `{"version":2,"id":"x"}`)), image.ErrVersion},
		"name is a path":       {build(t, doc(preludeOrigin, `{"version":1,"id":"../x"}`)), image.ErrCorrupt},
		"name is an option":    {build(t, doc(preludeOrigin, `{"version":1,"id":"--privileged"}`)), image.ErrCorrupt},
		"nothing to go by":     {build(t, origin, dir("rootfs")), ErrBundle},
		"hooks":                {build(t, origin, doc(preludeConfig, hookedConfig), dir("rootfs")), ErrBundle},
		"configuration is bad": {build(t, origin, doc(preludeConfig, "x"), dir("rootfs")), ErrBundle},
		"damaged":              {bytes.Replace(good, []byte("text"), []byte("TEXT"), 1), image.ErrCorrupt},
		"an entry too few":     {bytes.Replace(good, []byte(`"entries":4`), []byte(`"entries":5`), 1), image.ErrCorrupt},
		"cut off":              {good[:len(good)/2], image.ErrTruncated},
		"cut off at the end":   {good[:bytes.Index(good, []byte(`{"entries"`))], image.ErrTruncated},
		"ends":                 {slices.Concat(good[:len(good)-9-2048], make([]byte, 1024)), image.ErrTruncated},
	} {
		config := `{"process":{},"root":{"path":"rootfs"}}`
		if one.want == ErrBundle {
			config = ""
		}
		bundle := emptyBundle(t, config)
		before := files(t, filepath.Dir(bundle))
		l, _, _, err := landIn(t, bundle, one.stream, Import{})
		if err == nil {
			if err = l.apply(context.Background()); err == nil && one.want != nil {
				t.Errorf("%s: taken", name)
			}
			if undo := l.abandon(context.Background()); undo != nil {
				t.Errorf("%s: %v", name, undo)
			}
		}
		if one.want != nil && !errors.Is(err, one.want) {
			t.Errorf("%s: %v, want %v", name, err, one.want)
		}
		if after := files(t, filepath.Dir(bundle)); after != before {
			t.Errorf("%s: %s\nbecame\n%s", name, before, after)
		}
	}
}

// TestNoPrelude: streams that begin with an image, or are none, are left to who reads images.
func TestNoPrelude(t *testing.T) {
	for _, text := range []string{"", "x", strings.Repeat("x", 4000), strings.Repeat("\x00", 4000)} {
		r := bufio.NewReader(strings.NewReader(text))
		if a, err := openPrelude(r); a != nil || err != nil {
			t.Errorf("%.10q: %v, %v", text, a, err)
		}
		if rest, err := r.Peek(len(text)); err != nil && string(rest) != text {
			t.Errorf("%.10q was taken", text)
		}
	}
}

// FuzzPrelude: whatever a stream says, it is read or refused, and never beyond its end.
func FuzzPrelude(f *testing.F) {
	f.Add(build(f, doc(preludeOrigin, runcOrigin), doc(preludeConfig, plainConfig), dir("rootfs"), doc("rootfs/f", "text"), dir("volumes/v"), doc("volumes/v/f", "x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := openPrelude(bufio.NewReader(bytes.NewReader(b)))
		if err == nil && a != nil {
			err = a.stage(func(string, string) (*layer.Stage, error) { return nil, nil })
		}
		if err != nil && !errors.Is(err, image.ErrCorrupt) && !errors.Is(err, image.ErrTruncated) && !errors.Is(err, image.ErrVersion) {
			t.Fatal(err)
		}
	})
}

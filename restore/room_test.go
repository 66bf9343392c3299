package restore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

func TestFitsMemory(t *testing.T) {
	page := os.Getpagesize()
	for name, c := range map[string]struct {
		shared []*specs.Shared
		fits   bool
	}{
		"nothing":             {nil, true},
		"sparse":              {[]*specs.Shared{{Size: 1 << 50, Kind: "memfd"}}, true},
		"full":                {[]*specs.Shared{{Size: 1 << 20, Kind: "memfd", Full: true}}, true},
		"full and huge":       {[]*specs.Shared{{Size: 1 << 50, Kind: "memfd", Full: true}}, false},
		"as many as it takes": {[]*specs.Shared{{Size: 1 << 52, Kind: "memfd", Full: true}, {Size: 1 << 52, Kind: "sysv", Full: true}}, false},
		"of huge pages":       {[]*specs.Shared{{Size: 1 << 50, Kind: "memfd", Full: true, HugePage: 21}}, true},
	} {
		dir := filepath.Join(t.TempDir(), "image")
		w, err := image.Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		if err := w.Put(0, &specs.Header{PageSize: uint32(page)}); err != nil {
			t.Fatal(err)
		}
		for i, s := range c.shared {
			if err := w.Put(specs.ID(i+1), s); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := &restorer{}
		if r.img, err = image.Open(dir); err != nil {
			t.Fatal(err)
		}
		defer r.img.Close()
		err = r.fitsMemory()
		if (err == nil) != c.fits || err != nil && (!errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "free some")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryOfHugePages(t *testing.T) {
	m := &specs.Memory{Areas: []specs.Area{{Start: 1 << 21, End: 2 << 21}, {Start: 4 << 21, End: 6 << 21, HugePage: 21}, {Start: 6 << 21, End: 7 << 21}}}
	for at, want := range map[uint64]bool{1 << 21: false, 4 << 21: true, 6<<21 - 4096: true, 6 << 21: false, 9 << 21: false} {
		if ofHugePages(m, at) != want {
			t.Errorf("%#x: not %v", at, want)
		}
	}
}

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

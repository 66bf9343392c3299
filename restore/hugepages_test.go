package restore

import (
	"testing"

	"github.com/rethaw/rethaw/specs"
)

func TestInheritsAll(t *testing.T) {
	own, heir := specs.Extent{Start: 0x2000, Count: 2}, specs.Extent{Start: 0x4000, Count: 4, Inherit: true}
	next := specs.Extent{Start: 0x8000, Count: 2, Inherit: true}
	pages := []specs.Extent{own, heir, next}
	for _, c := range []struct {
		start, end uint64
		want       bool
	}{
		{0x4000, 0x8000, true}, {0x4000, 0xa000, true}, {0x5000, 0x9000, true}, {0x3000, 0x8000, false},
		{0x4000, 0xb000, false}, {0x2000, 0x4000, false}, {0, 0x1000, false}, {0xa000, 0xb000, false},
	} {
		if got := inheritsAll(pages, c.start, c.end); got != c.want {
			t.Errorf("%x-%x: %v", c.start, c.end, got)
		}
	}
}

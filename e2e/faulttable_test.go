package e2e

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// faultRow is what came of all faults of one kind.
type faultRow struct {
	kind string
	// injected counts the runs in which the fault came to pass; damaged those after which
	// the program complained, an image was neither whole nor away, or tasks were not what they
	// had to be; left those after which something was left over; shown those that the program saw as
	// the EINTR of a stop.
	injected, damaged, left, shown int
}

// faultTable gathers the rows of one run of the tests.
type faultTable struct {
	mu   sync.Mutex
	rows []*faultRow
}

// theFaults is filled by the tests of faults and printed when all have ended.
var theFaults faultTable

func (t *faultTable) row(kind string) *faultRow {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &faultRow{kind: kind}
	t.rows = append(t.rows, r)
	return r
}

func (t *faultTable) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	slices.SortFunc(t.rows, func(a, b *faultRow) int { return strings.Compare(a.kind, b.kind) })
	fmt.Fprintf(w, "%-48s %9s %8s %10s %12s\n", "fault kind", "injected", "damaged", "left over", "EINTR shown")
	for _, r := range t.rows {
		fmt.Fprintf(w, "%-48s %9d %8d %10d %12d\n", r.kind, r.injected, r.damaged, r.left, r.shown)
	}
}

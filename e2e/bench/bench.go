package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// bench is what rig.TB asks for, and the rows of the table so far.
type bench struct {
	rig     *rig.Rig
	runs    int
	only    string
	rows    []row
	cleanup []func()
	failed  bool
}

// row is one line: what was measured, and what it should be.
type row struct {
	what, is, goal string
	met            bool
}

// stop is what Fatalf panics with, to come back to measure.
type stop struct{}

func (b *bench) Helper()                         {}
func (b *bench) Name() string                    { return "bench" }
func (b *bench) Failed() bool                    { return b.failed }
func (b *bench) Cleanup(f func())                { b.cleanup = append(b.cleanup, f) }
func (b *bench) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) Errorf(format string, args ...any) {
	b.failed = true
	b.Logf("bench: "+format, args...)
}

func (b *bench) Fatalf(format string, args ...any) {
	b.Errorf(format, args...)
	panic(stop{})
}

// cleanUp undoes what was made, the last first.
func (b *bench) cleanUp() {
	for _, f := range slices.Backward(b.cleanup) {
		f()
	}
	b.cleanup = nil
}

// goal adds a row with a limit that the value should keep.
func (b *bench) goal(what, is string, met bool, goal string) {
	b.rows = append(b.rows, row{what, is, goal, met})
}

// note adds a row for comparison.
func (b *bench) note(what, is string) { b.rows = append(b.rows, row{what: what, is: is, met: true}) }

// table renders the rows as Markdown.
func (b *bench) table() string {
	var out strings.Builder
	line := func(cells ...string) {
		fmt.Fprintf(&out, "| %-58s | %14s | %-24s | %-4s |\n", cells[0], cells[1], cells[2], cells[3])
	}
	line("what", "median", "goal", "met")
	line(strings.Repeat("-", 58), strings.Repeat("-", 13)+":", strings.Repeat("-", 24), strings.Repeat("-", 4))
	for _, r := range b.rows {
		met := ""
		if r.goal != "" {
			met = map[bool]string{true: "yes", false: "NO"}[r.met]
		}
		line(r.what, r.is, r.goal, met)
	}
	return out.String()
}

// page is the table with what it was measured on.
func (b *bench) page(table string) string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	return fmt.Sprintf("# Figures\n\nMedians of %d rounds, of the trivial container of %d, measured by `make bench` on %s, Linux %s, beside %s.\n\n%s",
		b.runs, trivialRuns*b.runs, unix.ByteSliceToString(name.Machine[:]), unix.ByteSliceToString(name.Release[:]), b.rig.Runtime, table)
}

func median[T int64 | float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func mb(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// warm touches memory and gives it back.
func warm(bytes int) {
	memory, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return
	}
	for i := 0; i < bytes; i += 4096 {
		memory[i] = 1
	}
	_ = unix.Munmap(memory)
}

// Bench measures what rethaw costs, beside the plain runtime and a plain write of
// the same bytes, in one run on one machine. It is no part of the tests.
//
// # How it works
//
// Each figure is the median of several rounds, in which rethaw and what it is
// compared with take turns, so that a busy moment hits both. Memory is touched and
// given back before anything is measured: the first use of memory that the host of
// a virtual machine has taken away costs several times more than any other.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/e2e/rig"
)

func main() {
	os.Exit(run())
}

func run() int {
	binary := flag.String("rethaw", "", "rethaw to be measured (default: one built from the source)")
	runs := flag.Int("runs", 10, "rounds of which the median is taken")
	only := flag.String("only", "", "part to measure alone: trivial, redis, large or many")
	report := flag.String("o", "", "file that the table is written to as well, such as docs/bench.md")
	flag.Parse()
	if *binary != "" {
		path, err := filepath.Abs(*binary)
		if err == nil {
			err = os.Setenv("RETHAW_E2E_BINARY", path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
	}
	r, err := rig.Open()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	b := &bench{rig: r, runs: *runs, only: *only}
	code := b.measure()
	if err := r.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: clean up:", err)
		code = 1
	}
	table := b.table()
	fmt.Print(table)
	if code == 0 && *report != "" {
		if err := os.WriteFile(*report, []byte(b.page(table)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
	}
	return code
}

// measure fills the rows. A step that fails ends it, with what was made cleaned up.
func (b *bench) measure() (code int) {
	defer func() {
		b.cleanUp()
		if failure := recover(); failure != nil {
			if _, ours := failure.(stop); !ours {
				panic(failure)
			}
			code = 1
		}
	}()
	warm(1 << 30)
	b.size()
	for _, part := range []struct {
		name    string
		measure func()
	}{{"trivial", b.trivial}, {"redis", b.redis}, {"large", b.large}, {"many", b.many}} {
		if b.only == "" || b.only == part.name {
			part.measure()
		}
	}
	return 0
}

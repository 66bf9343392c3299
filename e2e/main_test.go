package e2e

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// errNoRoot is why a test without root skips.
var errNoRoot = errors.New("needs root, to make containers")

// openRig builds rethaw and makes the run directory when the first test asks.
var openRig = sync.OnceValues(func() (*rig.Rig, error) {
	if os.Geteuid() != 0 {
		return nil, errNoRoot
	}
	return rig.Open()
})

// theRig returns the place to make containers in.
func theRig(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := openRig()
	if errors.Is(err, errNoRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMain(m *testing.M) {
	code := m.Run()
	theFaults.print(os.Stdout)
	if os.Geteuid() == 0 {
		if r, err := openRig(); err == nil {
			if err := r.Close(); err != nil {
				fmt.Fprintln(os.Stderr, "clean up:", err)
				code = max(code, 1)
			}
		}
	}
	os.Exit(code)
}

package restore

import (
	"testing"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestSharedHeir(t *testing.T) {
	shared := func(change func(a *specs.Area)) specs.Area {
		a := specs.Area{Start: 0x1000, End: 0x5000, Prot: unix.PROT_READ, Shared: true, Kind: "shm", File: 3, Offset: 0x2000, Flags: []string{"dd"}}
		if change != nil {
			change(&a)
		}
		return a
	}
	parent := shared(nil)
	for _, c := range []struct {
		name   string
		change func(a *specs.Area)
		want   bool
	}{
		{"the same", nil, true},
		{"shorter", func(a *specs.Area) { a.End -= 0x1000 }, false},
		{"elsewhere in the file", func(a *specs.Area) { a.Offset = 0 }, false},
		{"another file", func(a *specs.Area) { a.File = 4 }, false},
		{"other protection", func(a *specs.Area) { a.Prot |= unix.PROT_WRITE }, false},
		{"never to be written", func(a *specs.Area) { a.ReadOnly = true }, false},
		{"other advice", func(a *specs.Area) { a.Flags = nil }, false},
	} {
		a := shared(c.change)
		if got := sharedHeir(&a, &parent); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	// What a fork does not bring along, though both have it.
	for name, change := range map[string]func(a *specs.Area){
		"private":        func(a *specs.Area) { a.Shared = false },
		"locked":         func(a *specs.Area) { a.Flags = []string{"lo"} },
		"not to be kept": func(a *specs.Area) { a.Flags = []string{"dc"} },
		"wiped":          func(a *specs.Area) { a.Flags = []string{"wf"} },
		"System V":       func(a *specs.Area) { a.Shmid = 1 },
		"file lock":      func(a *specs.Area) { a.Flock = unix.LOCK_EX },
	} {
		a, p := shared(change), shared(change)
		if sharedHeir(&a, &p) {
			t.Errorf("%s: inherited", name)
		}
	}
}

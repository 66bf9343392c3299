package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// TestPrograms takes every state program through the scenario.
func TestPrograms(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("programs/*.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".c")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, name, needs[name])
			s := subject{
				Container: p.Container,
				verify:    func(t *testing.T, when string) { t.Helper(); p.Check(when) },
				rewind:    p.Rewind,
				restless:  name == "timerfd", // periodic timers tick
				options:   snapshot.Options{Position: true},
			}
			s.cycle(t)
		})
	}
}

// startProgram runs a state program, or skips where the kernel has not what it
// wants.
func startProgram(t *testing.T, name string, config rig.Config) *rig.Program {
	t.Helper()
	p := theRig(t).NewProgram(t, name, config)
	p.Run()
	if why, skipped := p.Skipped(); skipped {
		t.Skip(why)
	}
	p.WaitReady()
	return p
}

// needs are what programs want of their container beyond the usual.
var needs = map[string]rig.Config{
	"strict":  {Unconfined: true}, // strict mode, which no filter may precede
	"sharing": {Unconfined: true}, // unshare
}

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// TestStdio looks at the other ends of a program's streams: after a restore they are
// the fresh container's own, and what the program writes arrives there.
func TestStdio(t *testing.T) {
	t.Parallel()
	for _, kind := range append(slices.Clone(rig.StdioKinds), rig.Joined) {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, "stdio", rig.Config{Stdio: kind, Unconfined: true})
			s := subject{
				Container: p.Container,
				verify:    func(t *testing.T, when string) { t.Helper(); converse(t, p, kind, when) },
				options:   snapshot.Options{Position: true},
			}
			s.cycle(t)
		})
	}
}

// converse has the program check itself, and read and write.
func converse(t *testing.T, p *rig.Program, kind rig.StdioKind, when string) {
	t.Helper()
	// The program may echo its input before the check.
	before := len(p.Output())
	heard := []string{"out " + p.Nonce, "err " + p.Nonce, "again " + p.Nonce, "child " + p.Nonce}
	if kind == rig.Pipe || kind == rig.Terminal {
		line := fmt.Sprintf("line %d", time.Now().UnixNano())
		if err := p.Input(line + "\n"); err != nil {
			t.Errorf("%s: input: %v", when, err)
		}
		heard = append(heard, "in "+p.Nonce+" "+line)
	}
	p.Check(when)
	if kind == rig.Null {
		return
	}
	said := ""
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		said = p.Output()[before:]
		missing := 0
		for _, line := range heard {
			if !strings.Contains(said, line) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
	t.Errorf("%s: the program wrote %q, want all of %q", when, said, heard)
}

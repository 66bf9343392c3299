package e2e

import (
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestLanguages: servers in languages whose interpreters each have ways of their own with signals, timers and
// threads.
func TestLanguages(t *testing.T) {
	t.Parallel()
	for _, l := range []struct{ name, interpreter, program string }{
		{"ruby", "/usr/bin/ruby", "server.rb"},
		{"perl", "/usr/bin/perl", "server.pl"},
		{"php", "/usr/bin/php", "server.php"},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			c := theRig(t).New(t, rig.Config{Args: []string{l.interpreter, filepath.Join("/programs", l.program)}, HostUsr: true})
			c.AddProgram(filepath.Join("programs", l.program), l.program)
			c.Run()
			serve(t, c).cycle(t)
		})
	}
}

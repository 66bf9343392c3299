package e2e

import (
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestUnixServer: an asyncio server on a unix socket with connected clients, all
// in the container.
func TestUnixServer(t *testing.T) {
	t.Parallel()
	c := theRig(t).New(t, rig.Config{Args: []string{"/usr/bin/python3", "-u", "/programs/unixserver.py"}, HostUsr: true})
	c.AddProgram("programs/unixserver.py", "unixserver.py")
	p := &rig.Program{Container: c}
	p.Run()
	p.WaitReady()
	s := subject{
		Container: c,
		rewind:    p.Rewind,
		verify:    func(t *testing.T, when string) { t.Helper(); p.Check(when) },
	}
	s.cycle(t)
}

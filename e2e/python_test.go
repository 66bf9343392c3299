package e2e

import (
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestPython: CPython with threads and an asyncio server.
func TestPython(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		c := theRig(t).New(t, rig.Config{
			Args: []string{"/usr/bin/python3", "-u", "/programs/server.py"}, HostUsr: true, Stdio: kind,
		})
		c.AddProgram("programs/server.py", "server.py")
		c.Run()
		return serve(t, c)
	})
}

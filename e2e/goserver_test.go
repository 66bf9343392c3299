package e2e

import (
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestGoServer: goroutines, netpoll, HTTP on loopback.
func TestGoServer(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		c := theRig(t).New(t, rig.Config{Args: []string{"/programs/goserver"}, Stdio: kind})
		c.AddProgram(theRig(t).GoProgram(t, "goserver"), "goserver")
		c.Run()
		return serve(t, c)
	})
}

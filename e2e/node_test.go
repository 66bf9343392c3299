package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestNode: Node.js with a server, a worker and work for the thread pool.
func TestNode(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Fatalf("%v (install nodejs)", err)
		}
		if node, err = filepath.EvalSymlinks(node); err != nil {
			t.Fatal(err)
		}
		c := theRig(t).New(t, rig.Config{
			// At rest it collects its garbage, and the collector does not come by itself later:
			// mappings are compared.
			Args: []string{node, "--expose-gc", "--no-memory-reducer", "/programs/server.js"}, HostUsr: true, Stdio: kind,
		})
		c.AddProgram("programs/server.js", "server.js")
		c.Run()
		return serve(t, c)
	})
}

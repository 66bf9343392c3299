package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestHookCrun has the hook's tests run once more with crun, by a process of its own: crun
// refuses hosts that have both versions of cgroups mounted, so that gets a mount namespace
// without the second one.
func TestHookCrun(t *testing.T) {
	theRig(t)
	if os.Getenv("RETHAW_E2E_RUNTIME") != "" {
		t.Skip("the whole run is with a runtime of somebody's choice")
	}
	if _, err := exec.LookPath("crun"); err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const script = `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh",
		os.Args[0], "-test.v", "-test.timeout=5m", "-test.run=^(TestHookTriggers|TestHookStop|TestHookRestore|TestHookExplicit|TestHookRefuses|TestHookRequest|TestHookFailsLate)$")
	cmd.Env = append(os.Environ(), "RETHAW_E2E_RUNTIME=crun")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHookRequest") {
		t.Errorf("with crun: %v\n%s", err, out)
	}
}

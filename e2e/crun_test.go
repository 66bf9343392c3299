package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestHookCrun has the hook's tests run once more with crun.
func TestHookCrun(t *testing.T) {
	withCrun(t, "TestHookTriggers", "TestHookStop", "TestHookRestore", "TestHookExplicit", "TestHookRefuses", "TestHookRequest", "TestHookFailsLate")
}

// TestCrun has all state programs, what a container can have as its output, a real program and exports go through
// checkpoint and restore with crun.
func TestCrun(t *testing.T) {
	withCrun(t, "TestPrograms", "TestStdio", "TestPython", "TestExportFile", "TestExportPipe", "TestExportRootfs")
}

// withCrun has tests run by a process of its own: crun refuses hosts that have both versions of cgroups mounted, so that
// gets a mount namespace without the second one.
func withCrun(t *testing.T, tests ...string) {
	t.Helper()
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
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", os.Args[0])
	cmd.Env = append(os.Environ(), "RETHAW_E2E_RUNTIME=crun")
	passAgain(t, "with crun", cmd, tests)
}

// passAgain has tests run by a process of its own, and wants each to pass; one that is skipped has not.
func passAgain(t *testing.T, how string, cmd *exec.Cmd, tests []string) {
	t.Helper()
	cmd.Args = append(cmd.Args, "-test.v", "-test.timeout=5m", "-test.parallel=2", "-test.run=^("+strings.Join(tests, "|")+")$")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", how, err, telling(string(out)))
	}
	for _, name := range tests {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s: %s has not passed\n%s", how, name, telling(string(out)))
		}
	}
}

// telling returns what the output of a go test -v says of failures, without the lines that only tell the progress.
func telling(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		progress := strings.HasPrefix(line, "=== ") || strings.HasPrefix(strings.TrimSpace(line), "--- PASS")
		if !progress {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

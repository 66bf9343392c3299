package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// TestUserNamespace has state programs, real ones and streams go through checkpoint and restore in containers with user
// namespaces of their own (user_namespaces(7)).
func TestUserNamespace(t *testing.T) {
	theRig(t) // not beside others: what it runs is two at a time already
	if rig.UserNS() {
		t.Skip("the whole run is with user namespaces")
	}
	if testing.Short() {
		t.Skip("takes a minute")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RETHAW_E2E_USERNS=1")
	passAgain(t, "with user namespaces", cmd, []string{"TestPrograms", "TestPython", "TestRedis", "TestNginx", "TestPostgres", "TestStreamRedis",
		"TestHookTriggers", "TestHookExplicit"})
}

// TestUserNamespaceOther restores into containers whose users are others: that is refused before anything is made, and
// with the same users it goes on.
func TestUserNamespaceOther(t *testing.T) {
	t.Parallel()
	p := theRig(t).RunProgram(t, "credentials", rig.Config{UserNS: true})
	p.Checkpoint()
	if r := p.TryRethaw("inspect", p.Image); !strings.Contains(r.Stdout, "0 100000 1048576 (inside, outside, count)") {
		t.Errorf("inspect does not tell of the users: %s%s", r.Stdout, r.Stderr)
	}
	var mapped specs.Linux
	for name, change := range map[string]func(l *specs.Linux){
		"other users":  func(l *specs.Linux) { l.UIDMappings[0].HostID++ },
		"other groups": func(l *specs.Linux) { l.GIDMappings[0].Size-- },
		"no user namespace": func(l *specs.Linux) {
			l.UIDMappings, l.GIDMappings = nil, nil
			l.Namespaces = l.Namespaces[:len(l.Namespaces)-1]
		},
	} {
		p.EditSpec(func(s *specs.Spec) {
			mapped = *s.Linux
			mapped.UIDMappings = append([]specs.LinuxIDMapping(nil), s.Linux.UIDMappings...)
			mapped.GIDMappings = append([]specs.LinuxIDMapping(nil), s.Linux.GIDMappings...)
			change(s.Linux)
		})
		r := p.TryRethaw("restore", "--detach", "--bundle", p.Bundle, p.ID)
		if r.Code == 0 || !strings.Contains(r.Stderr, "Mappings") {
			t.Errorf("%s: exit code %d: %s", name, r.Code, r.Stderr)
		}
		if state, exists := p.State(); exists {
			t.Errorf("%s: a container is left, %q", name, state.Status)
		}
		p.EditSpec(func(s *specs.Spec) { *s.Linux = mapped })
	}
	p.Restore()
	p.Check("restored")
}

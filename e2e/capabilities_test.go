package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// runtimeCaps are what runc takes to make a container of package rig: those that it gives away, and its own
// for namespaces, mounts, cgroups and the loopback interface.
var runtimeCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	"CAP_SYS_ADMIN", "CAP_NET_ADMIN",
}

// TestCapabilities takes containers through a checkpoint with no other capabilities than docs/security.md
// says, and back with no others than the runtime takes and CAP_SYS_PTRACE. With one less the checkpoint is
// refused, the message names it, and the container runs on.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	own, err := rig.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	least := []string{"CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE"}
	admin := []string{"CAP_SYS_PTRACE", "CAP_SYS_ADMIN"}
	for _, tt := range []struct {
		program string
		filter  bool // with a seccomp filter
		caps    []string
	}{
		{"pipe", false, least},
		{"deleted", false, least},
		{"threads", false, least},
		{"identity", false, least}, // tasks of other users
		{"tmpfs", false, append([]string{"CAP_DAC_READ_SEARCH", "CAP_FOWNER"}, least...)},
		{"pipe", true, admin},
		{"sysvshm", false, admin},
		{"tcp", false, admin},
		{"unixsocket", false, append([]string{"CAP_NET_ADMIN"}, admin...)},
	} {
		name := tt.program
		if tt.filter {
			name += ", filtered"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range slices.Concat(tt.caps, runtimeCaps) {
				if !slices.Contains(own, c) {
					t.Skipf("%s is not here to be given", c)
				}
			}
			config := needs[tt.program]
			config.Unconfined = !tt.filter
			p := startProgram(t, tt.program, config)
			p.Check("before")
			for _, without := range tt.caps {
				rest := slices.DeleteFunc(slices.Clone(tt.caps), func(c string) bool { return c == without })
				r := p.RethawWith(rest, "checkpoint", "--image", p.Image, p.ID)
				if r.Code != exitEnvironment || !strings.Contains(r.Stderr, without) {
					t.Errorf("without %s: exit code %d, want %d and its name in: %s", without, r.Code, exitEnvironment, r.Stderr)
				}
			}
			p.Check("after refusals")
			if r := p.RethawWith(tt.caps, "checkpoint", "--image", p.Image, p.ID); r.Code != 0 {
				t.Fatalf("with %v: %v", tt.caps, r)
			}
			p.AssertGone()
			restore := slices.Concat(runtimeCaps, config.Caps, []string{"CAP_SYS_PTRACE"})
			slices.Sort(restore)
			if r := p.RestoreWith(slices.Compact(restore)); r.Code != 0 {
				t.Fatalf("with %v: %v\n%s", restore, r, p.Output())
			}
			p.Check("restored")
		})
	}
}

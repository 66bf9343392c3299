package e2e

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// allCaps are what building odd state takes.
var oddCaps = []string{
	"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_NICE", "CAP_SYS_RAWIO", "CAP_BPF", "CAP_PERFMON", "CAP_IPC_LOCK", "CAP_SYS_PTRACE", "CAP_LEASE",
}

// TestUnsupported has check and checkpoint look at what cannot be saved.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	for _, mode := range strings.Fields(os.Getenv("MODES")) {
		t.Run(mode, func(t *testing.T) {
			p := theRig(t).NewProgram(t, "unsupported", rig.Config{
				Args: []string{mode}, Caps: oddCaps, Unconfined: true,
				Edit: func(s *specs.Spec) {
					s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
				},
			})
			p.Run()
			if why, skipped := p.Skipped(); skipped {
				t.Skip(why)
			}
			p.WaitReady()
			for _, args := range [][]string{{"check"}, {"checkpoint", "--leave-running", "--image", p.Image}} {
				r := p.TryRethaw(args[0], append(args[1:], p.ID)...)
				t.Logf("MODE %s %s: %d %s %s", mode, args[0], r.Code, r.Stdout, r.Stderr)
			}
			p.Check("after")
		})
	}
}

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
	"golang.org/x/sys/unix"
)

// TestHarness proves the tools on a container that nobody touches: two looks must
// be equal, and each tampering must show.
func TestHarness(t *testing.T) {
	t.Parallel()
	for _, kind := range rig.StdioKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			p := theRig(t).RunProgram(t, "eventfd", rig.Config{Stdio: kind})
			options := snapshot.Options{Stdio: p.StdioFiles()}
			before, err := snapshot.Stable(p.Pid(), options, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			p.Check("undisturbed")
			diff, err := snapshot.Equal(before, p.Pid(), options, 10*time.Second)
			if err != nil || diff != "" {
				t.Fatalf("an undisturbed container differs from itself: %v\n%s", err, diff)
			}
			if kind == rig.LogFile {
				tamper(t, p, before, options)
			}
		})
	}
}

// tamper changes one thing after the other and expects each to be seen.
func tamper(t *testing.T, p *rig.Program, before *snapshot.Snapshot, options snapshot.Options) {
	pid := p.Pid()
	for _, change := range []struct {
		name string
		do   func() error
		want string
	}{
		{"nice", func() error { return unix.Setpriority(unix.PRIO_PROCESS, pid, 5) }, "stat nice"},
		{"limit", func() error {
			return unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: 0}, nil)
		}, "limits"},
		{"oom score", func() error {
			return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("77"), 0)
		}, "oom_score_adj"},
		{"tmpfs", func() error {
			return os.WriteFile(fmt.Sprintf("/proc/%d/root/dev/shm/new", pid), []byte("x"), 0o600)
		}, "/dev/shm/new"},
		{"another task", func() error {
			if r := p.Runtime("exec", "--detach", p.ID, "/bin/sleep", "100"); r.Code != 0 {
				return fmt.Errorf("%v", r)
			}
			return nil
		}, "/bin/sleep"},
	} {
		if err := change.do(); err != nil {
			t.Errorf("%s: %v", change.name, err)
			continue
		}
		after, err := snapshot.Stable(pid, options, 10*time.Second)
		if err != nil {
			t.Errorf("%s: %v", change.name, err)
			continue
		}
		if diff := snapshot.Diff(before, after); !strings.Contains(diff, change.want) {
			t.Errorf("%s: the difference does not show %q:\n%s", change.name, change.want, diff)
		}
		before = after
	}
}

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/snapshot"
	"github.com/rethaw/rethaw/internal/timens"
	"golang.org/x/sys/unix"
)

// clockPrograms are state programs that wait for dates on the clocks which count from
// the boot.
var clockPrograms = []string{"timerfd", "syscalls", "posixtimer"}

// needTimeNamespaces skips where there are none.
func needTimeNamespaces(t *testing.T) {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	theRig(t)
	err := timens.With(timens.Offsets{Monotonic: int64(time.Hour)}, func() error { return nil })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip(err)
	}
	if !timens.ByExec() {
		t.Skip("what makes the containers of this test does not enter a time namespace under this kernel")
	}
}

// TestTimeNamespace: a container that was made in a time namespace has its clocks in the
// fresh one too.
func TestTimeNamespace(t *testing.T) {
	t.Parallel()
	needTimeNamespaces(t)
	for _, name := range clockPrograms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := theRig(t).NewProgram(t, name, needs[name])
			p.Around = []string{"unshare", "--time", "--monotonic", "1000000", "--"}
			p.Run()
			p.Around = nil
			p.WaitReady()
			want := timens.Offsets{Monotonic: 1000000e9}
			wantClocks(t, p.Pid(), want, 0)
			s := subject{
				Container: p.Container,
				verify: func(t *testing.T, when string) {
					t.Helper()
					wantClocks(t, p.Pid(), want, 0)
					p.Check(when)
				},
				rewind:   p.Rewind,
				restless: restless[name],
				options:  snapshot.Options{Position: true},
			}
			s.cycle(t)
		})
	}
}

// TestAnotherBoot: on a machine that was booted since, as it seems, and long before, the
// monotonic clock of the container goes on as if nothing had happened; and when it comes back too.
func TestAnotherBoot(t *testing.T) {
	t.Parallel()
	needTimeNamespaces(t)
	boot := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, []byte("00000000-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	elsewhere := []string{"unshare", "--mount", "--time", "--monotonic", "500000", "--",
		"sh", "-c", `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, boot}
	for _, name := range clockPrograms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, name, needs[name])
			p.Check("at first")
			p.Checkpoint()
			p.AssertGone()
			p.Around = elsewhere
			p.Restore()
			p.Around = nil
			// The host's clocks themselves never jumped: to go on is to be at theirs again.
			wantClocks(t, p.Pid(), timens.Offsets{}, time.Minute)
			p.Check("on the other machine")
			p.Checkpoint()
			p.AssertGone()
			p.Restore()
			wantClocks(t, p.Pid(), timens.Offsets{}, time.Minute)
			p.Check("back again")
		})
	}
	// The runtime makes this one by itself, in its own time namespace.
	t.Run("annotation", func(t *testing.T) {
		t.Parallel()
		p := startProgram(t, "timerfd", needs["timerfd"])
		p.Checkpoint()
		p.AssertGone()
		addHook(t, p.Container, "restore="+p.Image)
		p.Around = elsewhere
		p.Run()
		p.Around = nil
		awaitState(t, p.Container, "restored")
		wantClocks(t, p.Pid(), timens.Offsets{}, time.Minute)
		p.Check("restored by annotation")
	})
}

// wantClocks compares the clocks of a container with those of the host.
func wantClocks(t *testing.T, pid int, want timens.Offsets, slack time.Duration) {
	t.Helper()
	have, err := timens.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	far := func(a, b int64) bool { return time.Duration(a-b).Abs() > slack }
	if far(have.Monotonic, want.Monotonic) || far(have.Boottime, want.Boottime) {
		t.Errorf("the container's clocks are %+v from the host's, want %+v", have, want)
	}
}

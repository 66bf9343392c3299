package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
	"golang.org/x/sys/unix"
)

// TestPrograms takes every state program through the scenario.
func TestPrograms(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("programs/*.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		name := strings.TrimSuffix(filepath.Base(source), ".c")
		if name == "unsupported" {
			continue // TestUnsupported
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if why := foreign[name]; why != "" && rig.UserNS() {
				t.Skip("in a user namespace it cannot " + why)
			}
			if name == "forker" {
				t.Skip("what forks all the while cannot be compared; TestLoadForks takes it")
			}
			p := startProgram(t, name, needs[name])
			if why := refusals[name]; why != "" && refusedHere(name) {
				wantRefusal(t, p, why)
				return
			}
			// What check passes the checkpoints of the cycle must not refuse.
			if r := p.TryRethaw("check", append(slices.Clone(asks[name]), p.ID)...); r.Code != 0 && !dryRun() {
				t.Errorf("check: %v", r)
			}
			s := subject{
				Container: p.Container,
				verify:    func(t *testing.T, when string) { t.Helper(); p.Check(when) },
				rewind:    p.Rewind,
				restless:  restless[name],
				save:      asks[name],
				options:   snapshot.Options{Position: true},
			}
			s.cycle(t)
		})
	}
}

// restless are programs whose state goes on by itself.
var restless = map[string]bool{
	"timerfd":    true, // periodic timers tick
	"alarms":     true, // timers of one shot are armed anew
	"tcpfull":    true, // the kernel moves bytes from queue to queue
	"inetsocket": true, // so does it here
	"changing":   true, // so do its writers
	"selfcheck":  true, // it waits for one time after the other
}

// asks are the options without which a program cannot be saved.
var asks = map[string][]string{
	"lock": {"--file-locks"},
}

// foreign are programs that want rights over the whole machine, and for what.
var foreign = map[string]string{
	"device": "make device nodes",
	"pty":    "hang up terminals",
	"stdio":  "open its output anew, which belongs to the superuser outside",
}

// refusals are programs that cannot be saved, and what the refusal names.
var refusals = map[string]string{
	"mptcp":    "multipath TCP",
	"sharing":  "of its own",
	"halfdead": "needs Linux 6.9",
}

// refusedHere tells whether this kernel is one under which it cannot be saved.
func refusedHere(name string) bool {
	if name != "halfdead" {
		return true
	}
	fd, err := unix.PidfdOpen(os.Getpid(), unix.O_EXCL) // PIDFD_THREAD
	if err == nil {
		unix.Close(fd)
	}
	return err != nil
}

// wantRefusal wants check and checkpoint to refuse a program by name, and the
// program to go on.
func wantRefusal(t *testing.T, p *rig.Program, why string) {
	t.Helper()
	for _, args := range [][]string{{"check"}, {"checkpoint", "--image", p.Image}} {
		r := p.TryRethaw(args[0], append(args[1:], p.ID)...)
		if r.Code != exitUnsupported || !strings.Contains(r.Stdout+r.Stderr, why) {
			t.Errorf("%s: exit code %d, want %d and %q in: %s%s", args[0], r.Code, exitUnsupported, why, r.Stdout, r.Stderr)
		}
	}
	p.Check("after refusals")
}

// startProgram runs a state program, or skips where the kernel has not what it
// wants.
func startProgram(t *testing.T, name string, config rig.Config) *rig.Program {
	t.Helper()
	p := theRig(t).NewProgram(t, name, config)
	if name == "hugetlb" {
		reserveHugePages(t, 16)
	}
	p.Run()
	if why, skipped := p.Skipped(); skipped {
		t.Skip(why)
	}
	p.WaitReady()
	return p
}

// reserveHugePages has the kernel set huge pages aside while the test runs. It may
// find fewer; the program says so.
func reserveHugePages(t *testing.T, n int) {
	t.Helper()
	const sysctl = "/proc/sys/vm/nr_hugepages"
	text, err := os.ReadFile(sysctl)
	if err != nil {
		t.Skip(err)
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || now >= n {
		return
	}
	if err := os.WriteFile(sysctl, []byte(strconv.Itoa(n)), 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(sysctl, text, 0) })
}

// needs are what programs want of their container beyond the usual.
var needs = map[string]rig.Config{
	"attributes": {Caps: []string{"CAP_SYS_NICE", "CAP_SYS_ADMIN"}, Unconfined: true}, // policies of all kinds
	"pty":        {Caps: []string{"CAP_SYS_ADMIN"}},                                   // hanging up, fixed settings
	"uts":        {Caps: []string{"CAP_SYS_ADMIN"}, Unconfined: true},                 // sethostname
	"tmpfs":      {Caps: []string{"CAP_SYS_ADMIN"}, Unconfined: true},                 // mount
	"hugetlb":    {Caps: []string{"CAP_IPC_LOCK"}},                                    // SHM_HUGETLB
	"stdio":      {Unconfined: true},                                                  // kcmp
	"strict":     {Unconfined: true},                                                  // strict mode, which no filter may precede
	"sharing":    {Unconfined: true},                                                  // unshare
}

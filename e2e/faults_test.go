//go:build amd64

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/fault"
	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// strikesOfAKind is how many faults of each kind are tried, spread evenly over all that there
// are; RETHAW_E2E_FAULTS says other, "all" for every one. RETHAW_E2E_FAULTS_AT, a regular expression,
// chooses steps by their names.
const strikesOfAKind = 6

// maxHarm is after how much harm a test gives up.
const maxHarm = 12

// TestFaults has one thing go wrong in each run of rethaw: at every system call in turn it is
// killed, or the call fails.
func TestFaults(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"KillLeaving", killLeaving}, {"KillEnding", killEnding}, {"KillPaused", killPaused},
		{"Errors", failCheckpoint}, {"Short", shortWrites}, {"Vanish", vanish},
		{"Full", fullDisk}, {"KillRestore", killRestore}, {"FailRestore", failRestore},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// bench is a program under test with a victim: what strikes are tried on.
type bench struct {
	*victim
	t       *testing.T
	program *fault.Program
	row     *faultRow
	out     *os.File
	harm    int
	// mark is in the environment of this bench's processes.
	mark string
	// pauses tells that the victim is paused time and again: the freezer, too, shows as EINTR.
	pauses bool
}

func newBench(t *testing.T, kind string) *bench {
	t.Helper()
	program, err := fault.Open(theRig(t).Rethaw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "output"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	b := &bench{t: t, program: program, row: theFaults.row(kind), out: out}
	// Watchdogs inherit it.
	b.mark = "RETHAW_E2E_FAULTS_OF=" + strconv.Itoa(os.Getpid()) + " " + t.Name()
	program.Env = []string{b.mark}
	b.renew()
	return b
}

// renew takes another container, the old one being no good any more.
func (b *bench) renew() { b.victim = newVictim(b.t, startProgram(b.t, "selfcheck", rig.Config{})) }

// files are the streams of a run, whose output goes where said finds it.
func (b *bench) files() [3]*os.File {
	b.t.Helper()
	if err := b.out.Truncate(0); err != nil {
		b.t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { null.Close() })
	return [3]*os.File{null, b.out, b.out}
}

func (b *bench) said() string {
	text, _ := os.ReadFile(b.out.Name())
	return strings.TrimSpace(string(text))
}

// saving are the arguments of a checkpoint.
func (b *bench) saving(more ...string) []string {
	return b.RethawArgs("checkpoint", append(append([]string{"--image", b.Image}, more...), b.ID)...)
}

// record runs rethaw twice, since the second image takes the place of the first, and gives the
// steps of the second run.
func (b *bench) record(args func() []string, between func()) []*fault.Step {
	b.t.Helper()
	var steps []*fault.Step
	for range 2 {
		out, err := b.program.Record(args(), b.files())
		if err != nil || out.Code != 0 {
			b.t.Fatalf("an undisturbed run: exit %d, %v: %s", out.Code, err, b.said())
		}
		steps = out.Steps
		between()
	}
	return steps
}

// late tells that the tests have to end; what was not tried then is told.
func (b *bench) late(left int) bool {
	b.t.Helper()
	deadline, ok := b.t.Deadline()
	if !ok || time.Until(deadline) > ending {
		return false
	}
	b.t.Logf("the time is up: %d faults were not tried", left)
	return true
}

// ending is how long before the deadline no more faults are tried.
const ending = 90 * time.Second

// enough checks that faults came to pass, or nothing is proven: mostly nine of ten do, a step of the
// runtime not in each run.
func (b *bench) enough(tried int) {
	b.t.Helper()
	if b.row.injected*4 < tried {
		b.t.Errorf("only %d of %d faults came to pass", b.row.injected, tried)
	}
}

// aim is one strike, and the step for reports.
type aim struct {
	step *fault.Step
	fault.Strike
}

// aims puts together the strikes that each step can take, all or a sample.
func aims(t *testing.T, steps []*fault.Step, strikes func(*fault.Step) []fault.Strike) []aim {
	t.Helper()
	var all []aim
	at, err := regexp.Compile(os.Getenv("RETHAW_E2E_FAULTS_AT"))
	if err != nil {
		t.Fatalf("RETHAW_E2E_FAULTS_AT: %v", err)
	}
	for _, s := range steps {
		if !at.MatchString(s.String()) {
			continue
		}
		for _, strike := range strikes(s) {
			all = append(all, aim{s, strike})
		}
	}
	n := strikesOfAKind
	switch text := os.Getenv("RETHAW_E2E_FAULTS"); text {
	case "":
	case "all":
		n = len(all)
	default:
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("RETHAW_E2E_FAULTS: %q is neither a number nor all", text)
		}
	}
	if n >= len(all) {
		return all
	}
	some := make([]aim, 0, n)
	for i := range n {
		some = append(some, all[i*len(all)/n])
	}
	return some
}

// try runs rethaw with one fault. It returns false if the fault did not come: the threads of two
// runs do not do the same.
func (b *bench) try(args []string, a aim) (fault.Outcome, bool) {
	b.t.Helper()
	out, err := b.program.Run(args, b.files(), a.Strike)
	if err != nil {
		b.t.Errorf("%v: %v", a, err)
		b.row.damaged++
		return out, false
	}
	if out.Struck {
		b.row.injected++
	}
	b.awaitDogs(a)
	return out, out.Struck
}

// awaitDogs waits until the watchdogs have done what they have to.
func (b *bench) awaitDogs(a aim) {
	b.t.Helper()
	watching := func() bool {
		processes, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range processes {
			args, err := os.ReadFile(dir + "/cmdline")
			if err != nil || string(args) != "rethaw\x00watchdog\x00" {
				continue
			}
			if env, err := os.ReadFile(dir + "/environ"); err == nil && strings.Contains(string(env), b.mark+"\x00") {
				return true
			}
		}
		return false
	}
	if !eventually(2*restTime, func() bool { return !watching() }) {
		b.t.Errorf("%v: a watchdog does not end", a)
		b.row.left++
	}
}

func (a aim) String() string {
	what := ""
	switch {
	case a.Kill:
		what = "killed at time " + strconv.Itoa(a.Nth) + " of " + strconv.Itoa(a.step.Count) + " of "
	case a.Short:
		what = "half of "
	case a.Errno != 0:
		what = a.Errno.Error() + " from "
	}
	return what + a.step.String()
}

// intact looks at the victim from inside and outside, and counts.
func (b *bench) intact(a aim) bool {
	b.t.Helper()
	fine := true
	if state, _ := b.State(); state.Status != "running" {
		b.t.Errorf("%v: the container is %q", a, state.Status)
		b.row.damaged++
		return false
	}
	if answer, err := b.Ask(); err != nil {
		if onlyStopSignals(answer) {
			if !b.pauses {
				b.row.shown++
				b.t.Logf("%v: a stop showed: %s", a, answer)
			}
		} else {
			b.t.Errorf("%v: from inside: %v", a, err)
			b.row.damaged++
			fine = false
		}
	}
	if diff, err := snapshot.Equal(b.before, b.Pid(), b.options(), restTime); err != nil || diff != "" {
		b.t.Errorf("%v: from outside it differs (-before +after): %v\n%s", a, err, diff)
		b.row.left++
		fine = false
	}
	return fine
}

// whole tells whether an image is there. One that is there must be whole.
func (b *bench) whole(a aim) bool {
	b.t.Helper()
	if _, err := os.Stat(b.Image); err != nil {
		return false
	}
	if r := b.TryRethaw("verify", b.Image); r.Code != 0 {
		b.t.Errorf("%v: the image is neither whole nor away: %v", a, r)
		b.row.damaged++
		return false
	}
	return true
}

// harmed counts harm and takes a new victim; it tells when it is enough.
func (b *bench) harmed() (enough bool) {
	b.t.Helper()
	if b.harm++; b.harm >= maxHarm {
		b.t.Errorf("%d faults did harm: enough", b.harm)
		return true
	}
	b.renew()
	return false
}

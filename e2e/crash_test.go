package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// kills is how often TestCrash kills rethaw, unless RETHAW_E2E_KILLS says other.
const kills = 100

// TestCrash kills rethaw at random moments of a checkpoint: the container must go
// on as if nothing had happened, with nothing left in it.
func TestCrash(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	times := kills
	if text := os.Getenv("RETHAW_E2E_KILLS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("RETHAW_E2E_KILLS: %v", err)
		}
	}
	p := startProgram(t, "selfcheck", rig.Config{})
	v := newVictim(t, p)
	span := v.span(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("a checkpoint takes %v; seed %d", span, seed)
	landed, row := 0, theFaults.row("kill: checkpoint -R, random moments")
	for i := range times {
		run := p.StartRethaw("checkpoint", "--leave-running", "--image", p.Image, p.ID)
		after := time.Duration(random.Int64N(int64(span)))
		time.Sleep(after)
		run.Signal(syscall.SIGKILL)
		if run.Wait().Code == -1 {
			landed++
		}
		row.injected = landed
		fine := v.unharmed(t)
		row.shown = v.interrupted
		if !fine {
			row.damaged++
			t.Fatalf("kill %d of %d, %v after the start (seed %d), did harm", i+1, times, after, seed)
		}
	}
	t.Logf("%d of %d kills came before rethaw had ended; 0 did harm, %d showed as the EINTR of a stop", landed, times, v.interrupted)
	if v.interrupted > max(2, times/20) {
		t.Errorf("%d of %d kills showed as an EINTR: the window is microseconds", v.interrupted, times)
	}
	if landed < times/4 {
		t.Errorf("only %d of %d kills came in time to prove anything", landed, times)
	}
	v.stillGood(t)
}

// victim is a program on which rethaw is stopped, one way or the other.
type victim struct {
	*rig.Program
	before *snapshot.Snapshot
	// interrupted counts the kills that showed as an EINTR of a call that any
	// stop interrupts.
	interrupted int
}

// onlyStopSignals tells whether all that a program complains of is EINTR from the
// calls that signal(7) lists under "Interruption of system calls and library
// functions by stop signals": between the kernel's stop of such a thread and the
// tracer's correction lie some microseconds, in which a death shows.
func onlyStopSignals(answer string) bool {
	found := false
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "want:") || line == "" {
			continue
		}
		if !strings.HasSuffix(line, "Interrupted system call") || !(strings.Contains(line, "epoll_wait") || strings.Contains(line, "sigtimedwait") || strings.Contains(line, "semop")) {
			return false
		}
		found = true
	}
	return found
}

func newVictim(t *testing.T, p *rig.Program) *victim {
	t.Helper()
	p.Check("before any checkpoint")
	v := &victim{Program: p}
	var err error
	if v.before, err = snapshot.Stable(p.Pid(), v.options(), restTime); err != nil {
		t.Fatal(err)
	}
	return v
}

// options leave out what selfcheck changes all the time: its timers, what is under way.
func (v *victim) options() snapshot.Options {
	return snapshot.Options{
		Stdio: v.StdioFiles(),
		Ignore: map[string]bool{
			"file fdinfo it_value": true, "file fdinfo ticks": true, "thread SigPnd": true, "thread ShdPnd": true,
			"file readable": true, "file fdinfo eventfd-count": true, "file so rcvbuf": true, "file so sndbuf": true,
		},
	}
}

// span is how long a checkpoint of the victim takes, with a margin: the time in
// which to strike.
func (v *victim) span(t *testing.T) time.Duration {
	t.Helper()
	var longest time.Duration
	for range 3 {
		longest = max(longest, v.Checkpoint("--leave-running").Took)
		if !v.unharmed(t) {
			t.Fatal("a checkpoint that ran to its end did harm")
		}
	}
	return longest * 5 / 4
}

// unharmed asks the program, and compares what the kernel shows with before: no
// mapping, no descriptor, no tracer may be left.
func (v *victim) unharmed(t *testing.T) bool {
	t.Helper()
	ok := true
	if state, _ := v.State(); state.Status != "running" {
		t.Errorf("the container is %q", state.Status)
		return false
	}
	if answer, err := v.Ask(); err != nil {
		if onlyStopSignals(answer) {
			v.interrupted++
			t.Logf("a stop showed: %s", answer)
		} else {
			t.Errorf("from inside: %s: %v", answer, err)
			ok = false
		}
	}
	diff, err := snapshot.Equal(v.before, v.Pid(), v.options(), restTime)
	if err != nil || diff != "" {
		t.Errorf("from outside it differs (-before +after): %v\n%s", err, diff)
		ok = false
	}
	// What is in the image's place is a whole image or none.
	if _, err := os.Stat(v.Image); err == nil {
		if r := v.TryRethaw("inspect", v.Image); r.Code != 0 {
			t.Errorf("the image is neither whole nor away: %v", r)
			ok = false
		}
	}
	return ok
}

// stillGood takes the victim through one checkpoint and restore, in spite of all
// that was left lying by those that were stopped.
func (v *victim) stillGood(t *testing.T) {
	t.Helper()
	v.Checkpoint()
	v.AssertGone()
	v.Restore()
	v.Check("restored after all that")
	diff, err := snapshot.Equal(v.before, v.Pid(), v.options(), restTime)
	if err != nil || diff != "" {
		t.Errorf("restored after all that: from outside it differs (-before +after): %v\n%s", err, diff)
	}
}

// TestInterrupt sends rethaw the signals of Ctrl-C and of a service manager.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := startProgram(t, "selfcheck", rig.Config{})
	v := newVictim(t, p)
	span := v.span(t)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for i := range 20 {
		signal := []os.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		run := p.StartRethaw("checkpoint", "--leave-running", "--image", p.Image, p.ID)
		time.Sleep(time.Duration(random.Int64N(int64(span))))
		run.Signal(signal)
		// Before the program has set up its handlers the signal simply ends it.
		if r := run.Wait(); r.Code != 0 && r.Code != exitInterrupted && r.Code != -1 {
			t.Errorf("interrupted by %v: %v", signal, r)
		}
		if !v.unharmed(t) {
			t.Fatalf("interruption %d, by %v, did harm", i+1, signal)
		}
	}
	v.stillGood(t)
}

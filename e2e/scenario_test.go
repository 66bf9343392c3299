package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// rounds is how often a container is checkpointed and restored in a row.
const rounds = 3

// restTime is how long tasks may take to come to rest, before a checkpoint and
// after a restore.
const restTime = 15 * time.Second

// subject is what a scenario needs to know of a program that runs in a container.
type subject struct {
	*rig.Container
	// load gives the program something to do, up to the moment that it is stopped,
	// and may be nil. What it opens, it closes.
	load func(t *testing.T)
	// rest has a program that works by itself pause, so that all of it can be
	// compared, and work has it go on. Both are nil where there is no such work.
	rest, work func(t *testing.T)
	// verify asks the program for its nonce and whatever else it should know.
	verify func(t *testing.T, when string)
	// rewind forgets what verify saw since the last load, for a restore of an image
	// that is older than that. It may be nil.
	rewind func()
	// save are options of the checkpoint.
	save []string
	// restless is for a program that never comes to rest.
	restless bool
	// options of the comparison.
	options snapshot.Options
}

// cycle is the scenario: three rounds, then one with the original left running. A
// program that works by itself rests in the first round and in no other.
func (s *subject) cycle(t *testing.T) {
	t.Helper()
	s.verify(t, "before any checkpoint")
	for i := range rounds {
		s.round(t, i == 0)
		if t.Failed() || dryRun() {
			return
		}
	}
	s.leaveRunning(t)
}

// dryRun leaves the checkpoints out and the rest in: it proves the tests themselves.
func dryRun() bool { return os.Getenv("RETHAW_E2E_DRY") != "" }

// round checkpoints and restores once and compares before with after.
func (s *subject) round(t *testing.T, resting bool) {
	t.Helper()
	before := s.look(t, resting)
	if dryRun() {
		s.compare(t, before, "undisturbed")
		s.resume(t)
		s.verify(t, "undisturbed")
		return
	}
	s.Checkpoint(s.save...)
	s.AssertGone()
	s.Restore()
	s.compare(t, before, "after restore")
	s.assertRunning(t)
	s.resume(t)
	s.verify(t, "after restore")
}

// leaveRunning checkpoints with -R: the original must not notice, and when it is
// dead the image must still be good.
func (s *subject) leaveRunning(t *testing.T) {
	t.Helper()
	before := s.look(t, false)
	pid := s.Pid()
	s.Checkpoint(append([]string{"--leave-running"}, s.save...)...)
	if now := s.Pid(); now != pid {
		t.Errorf("the original was left running, but its init was %d and is %d", pid, now)
	}
	s.compare(t, before, "the original, left running")
	s.verify(t, "the original, left running")
	s.Delete()
	s.AssertGone()
	if s.rewind != nil {
		s.rewind()
	}
	s.Restore()
	s.compare(t, before, "restored after the original was killed")
	s.verify(t, "restored after the original was killed")
}

// look loads the program, lets it come to rest and takes a snapshot.
func (s *subject) look(t *testing.T, resting bool) *snapshot.Snapshot {
	t.Helper()
	if s.load != nil {
		s.load(t)
	}
	s.options.Moving = s.restless || s.rest != nil && !resting
	s.options.Resting = s.rest != nil && resting
	if s.options.Resting {
		s.rest(t)
	}
	seen, err := snapshot.Stable(s.Pid(), s.lookAt(), restTime)
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	return seen
}

// resume ends a rest.
func (s *subject) resume(t *testing.T) {
	t.Helper()
	if s.work != nil {
		s.work(t)
	}
}

// compare fails the test where the tasks do not come to be as before.
func (s *subject) compare(t *testing.T, before *snapshot.Snapshot, when string) {
	t.Helper()
	diff, err := snapshot.Equal(before, s.Pid(), s.lookAt(), restTime)
	if err != nil {
		t.Errorf("%s: snapshot: %v", when, err)
	}
	if diff != "" {
		t.Errorf("%s: from outside it differs (-before +after):\n%s", when, diff)
	}
}

func (s *subject) lookAt() snapshot.Options {
	options := s.options
	options.Stdio = s.StdioFiles()
	return options
}

// assertRunning sees that the runtime takes the container for one of its own.
func (s *subject) assertRunning(t *testing.T) {
	t.Helper()
	if state, _ := s.State(); state.Status != "running" {
		t.Errorf("after restore: the runtime says %q, want running", state.Status)
	}
	if r := s.Runtime("ps", s.ID); r.Code != 0 {
		t.Errorf("after restore: %v", r)
	}
}

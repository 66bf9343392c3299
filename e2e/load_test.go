package e2e

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
	"golang.org/x/sys/unix"
)

// load is how much the tests of this file put on a checkpoint.
type load struct {
	containers, threads, descriptors, megabytes, rounds, forkers, freezes int
}

// loads are what RETHAW_E2E_LOAD may ask for; the first is part of every test run.
var loads = map[string]load{
	"":     {containers: 15, threads: 1500, descriptors: 5000, megabytes: 16, rounds: 25, forkers: 1, freezes: 10},
	"full": {containers: 50, threads: 5000, descriptors: 20000, megabytes: 512, rounds: 500, forkers: 4, freezes: 300},
}

func theLoad(t *testing.T) load {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	l, ok := loads[os.Getenv("RETHAW_E2E_LOAD")]
	if !ok {
		t.Fatal("RETHAW_E2E_LOAD is neither empty nor full")
	}
	return l
}

// spareDescriptors are those that rethaw and a program have beside what they are
// measured by, where nobody may raise a limit (CAP_SYS_RESOURCE).
const spareDescriptors = 150

// openLimit is the hard limit of open files that a container can be given.
func openLimit(t *testing.T) uint64 {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Max
}

// roomy gives a container many descriptors, and tasks up to a number that a mistake
// in a test does not exceed.
func roomy(t *testing.T, args ...string) rig.Config {
	t.Helper()
	open, tasks := openLimit(t), int64(8000)
	return rig.Config{Args: args, Edit: func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: open}}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &tasks}
	}}
}

// loadPatience is how long two looks at a very large container may take.
const loadPatience = 5 * time.Minute

// thereAndBack: a large program is left running once, then taken through a checkpoint
// and a restore. Both are told in the log.
func thereAndBack(t *testing.T, p *rig.Program, options snapshot.Options) {
	t.Helper()
	options.Stdio = p.StdioFiles()
	p.Check("before any checkpoint")
	before, err := snapshot.Stable(p.Pid(), options, loadPatience)
	if err != nil {
		t.Fatal(err)
	}
	_, left := p.CheckpointStats("--leave-running")
	p.Check("left running")
	_, stats := p.CheckpointStats()
	p.AssertGone()
	restored := p.Restore()
	p.Check("restored")
	options.Stdio = p.StdioFiles()
	diff, err := snapshot.Equal(before, p.Pid(), options, loadPatience)
	if err != nil || diff != "" {
		t.Errorf("restored: from outside it differs (-before +after): %v\n%s", err, diff)
	}
	t.Logf("left running: frozen %d ms of %d; checkpoint: frozen %d ms of %d; restore %d ms",
		left.Frozen/1000, left.Total/1000, stats.Frozen/1000, stats.Total/1000, restored.Took.Milliseconds())
}

// TestLoadThreads: a process with thousands of threads.
func TestLoadThreads(t *testing.T) {
	t.Parallel()
	n := theLoad(t).threads
	p := startProgram(t, "manythreads", roomy(t, strconv.Itoa(n)))
	thereAndBack(t, p, snapshot.Options{Moving: true})
}

// TestLoadDescriptors: a process with thousands of open files, as many as the limit
// lets it have.
func TestLoadDescriptors(t *testing.T) {
	t.Parallel()
	n := min(theLoad(t).descriptors, int(openLimit(t))-spareDescriptors)
	p := startProgram(t, "manyfiles", roomy(t, strconv.Itoa(n)))
	thereAndBack(t, p, snapshot.Options{Position: true})
}

// TestLoadMemory: memory that is written to at every moment. Whenever the writers
// are stopped, each goes on with the page that it had half written.
func TestLoadMemory(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "changing", rig.Config{Args: []string{strconv.Itoa(theLoad(t).megabytes)}})
	p.Check("before any checkpoint")
	for range 5 {
		p.Checkpoint("--leave-running")
		p.Check("left running")
	}
	for range rounds {
		p.Checkpoint()
		p.AssertGone()
		p.Restore()
		p.Check("restored")
	}
}

// forkPatience is within how long a container that cannot be frozen must be let go.
const forkPatience = 60 * time.Second

// TestLoadForks: processes that fork as fast as they can. A checkpoint holds them, or gives up
// within bounds and they go on.
func TestLoadForks(t *testing.T) {
	t.Parallel()
	l := theLoad(t)
	p := startProgram(t, "forker", roomy(t, strconv.Itoa(l.forkers)))
	p.Check("before any checkpoint")
	refused := 0
	for i := range l.freezes {
		r := p.TryRethaw("checkpoint", "--leave-running", "--image", p.Image, p.ID)
		if r.Took > forkPatience {
			t.Errorf("checkpoint %d took %v", i, r.Took)
		}
		if r.Code != 0 {
			refused++
			t.Logf("checkpoint %d: %v", i, r)
		}
		if i%10 == 0 {
			p.Check("left running")
		}
		if t.Failed() {
			return
		}
	}
	p.Check("left running")
	t.Logf("%d of %d checkpoints were refused", refused, l.freezes)
	// The preflight looks at processes that are gone a moment later, and may be wrong about one.
	if refused > l.freezes/10 {
		t.Errorf("%d of %d checkpoints were refused", refused, l.freezes)
	}
	for range rounds {
		rig.Eventually(t, forkPatience, "a checkpoint", func() bool {
			r := p.TryRethaw("checkpoint", "--image", p.Image, p.ID)
			return r.Code == 0
		})
		p.AssertGone()
		p.Restore()
		p.Check("restored")
	}
}

// crowd are the programs of TestLoadTogether, in turn.
var crowd = []string{"threads", "pipe", "epoll", "tree", "eventfd"}

// TestLoadTogether checkpoints many containers at the same time, and restores them at
// the same time.
func TestLoadTogether(t *testing.T) {
	t.Parallel()
	made := make([]*rig.Program, theLoad(t).containers)
	for i := range made {
		made[i] = startProgram(t, crowd[i%len(crowd)], rig.Config{})
	}
	each := func(do func(p *rig.Program)) {
		var wait sync.WaitGroup
		for _, p := range made {
			wait.Go(func() { do(p) })
		}
		wait.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	each(func(p *rig.Program) { p.Checkpoint("--leave-running") })
	each(func(p *rig.Program) { p.Check("left running") })
	each(func(p *rig.Program) { p.Checkpoint() })
	each(func(p *rig.Program) { p.AssertGone() })
	each(func(p *rig.Program) { p.Restore() })
	each(func(p *rig.Program) { p.Check("restored") })
}

// TestLoadRounds takes one container through many rounds, and looks for what might
// pile up: in its tasks, and on the host.
func TestLoadRounds(t *testing.T) {
	t.Parallel()
	n := theLoad(t).rounds
	p := startProgram(t, "selfcheck", rig.Config{})
	v := newVictim(t, p)
	var host []string
	var memory int64
	for i := range n {
		p.Checkpoint()
		p.AssertGone()
		p.Restore()
		if i%10 == 0 || i == n-1 {
			p.Check(fmt.Sprintf("after %d rounds", i+1))
		}
		if t.Failed() {
			return
		}
		if i == 0 {
			// The first restore is what all others are measured by.
			host, memory = p.Traces(), p.Resident()
		}
	}
	if !v.unharmed(t) {
		t.Errorf("%d rounds did harm", n)
	}
	if now := p.Traces(); fmt.Sprint(now) != fmt.Sprint(host) {
		t.Errorf("after the first round the host showed\n%q\nof the container, and after %d rounds\n%q", host, n, now)
	}
	if now := p.Resident(); now > memory+memory/10+1<<20 {
		t.Errorf("the tasks had %d bytes in memory after the first round and have %d after %d", memory, now, n)
	}
}

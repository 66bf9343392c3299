//go:build amd64

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/e2e/fault"
	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// killLeaving kills rethaw at every step of a checkpoint that leaves the tasks running.
func killLeaving(t *testing.T) {
	b := newBench(t, "kill: checkpoint -R, each step")
	args := func() []string { return b.saving("--leave-running") }
	steps := b.record(args, func() {})
	all := aims(t, steps, (*fault.Step).Kills)
	tried := 0
	for _, a := range all {
		if b.late(len(all) - tried) {
			break
		}
		tried++
		if _, struck := b.try(args(), a); !struck {
			continue
		}
		fine := b.intact(a)
		b.whole(a)
		if !fine && b.harmed() {
			return
		}
	}
	b.enough(tried)
	b.stillGood(t)
	b.noRemains(aim{step: steps[0]})
}

// killEnding kills rethaw at every step of a checkpoint that ends the tasks: until the image is
// whole they go on, and then it can be restored.
func killEnding(t *testing.T) {
	b := newBench(t, "kill: checkpoint, each step")
	args := func() []string { return b.saving() }
	b.Image += ".ending"
	steps := b.record(args, func() { b.Restore() })
	all := aims(t, steps, func(s *fault.Step) []fault.Strike { return s.Kills()[:1] })
	tried := 0
	for _, a := range all {
		if b.late(len(all) - tried) {
			break
		}
		tried++
		if err := os.RemoveAll(b.Image); err != nil {
			t.Fatal(err)
		}
		_, struck := b.try(args(), a)
		state, known := b.State()
		fine := true
		switch {
		case known && state.Status == "running":
			fine = b.intact(a)
			b.whole(a)
		case b.whole(a):
			fine = b.again(a, known)
		default:
			t.Errorf("%v: no image, and the container is %q", a, state.Status)
			b.row.damaged++
			fine = false
		}
		if !fine && struck && b.harmed() {
			return
		}
	}
	b.enough(tried)
}

// again restores the victim, whose image is complete.
func (b *bench) again(a aim, known bool) bool {
	b.t.Helper()
	if known {
		rig.Eventually(b.t, restTime, "the tasks to end", func() bool { return len(b.Tasks()) == 0 })
		b.Delete()
	}
	b.Restore()
	return b.intact(a)
}

// killPaused kills rethaw at every step of a checkpoint of a paused container: it stays paused.
func killPaused(t *testing.T) {
	b := newBench(t, "kill: checkpoint -R of a paused one")
	args := func() []string { return b.saving("--leave-running") }
	b.pauses = true
	pause := func() {
		// A busy machine is slow to freeze, and runc gives up.
		if !eventually(restTime, func() bool { return b.Runtime("pause", b.ID).Code == 0 }) {
			t.Fatal("the container cannot be paused")
		}
	}
	pause()
	steps := b.record(args, func() {})
	all := aims(t, steps, func(s *fault.Step) []fault.Strike { return s.Kills()[:1] })
	tried := 0
	for _, a := range all {
		if b.late(len(all) - tried) {
			break
		}
		tried++
		if _, struck := b.try(args(), a); !struck {
			continue
		}
		fine := eventually(restTime, func() bool { state, _ := b.State(); return state.Status == "paused" })
		if !fine {
			t.Errorf("%v: the container is not paused any more", a)
			b.row.left++
		} else if r := b.Runtime("resume", b.ID); r.Code != 0 {
			t.Fatal(r)
		}
		fine = b.intact(a) && fine
		b.whole(a)
		if !fine && b.harmed() {
			return
		}
		pause()
	}
	if r := b.Runtime("resume", b.ID); r.Code != 0 {
		t.Fatal(r)
	}
	b.intact(aim{step: steps[0]})
	b.enough(tried)
	b.stillGood(t)
}

// noRemains checks that nothing of a checkpoint lies about.
func (b *bench) noRemains(a aim) {
	b.t.Helper()
	if _, err := os.Stat(b.Image + ".partial"); err == nil {
		b.t.Errorf("%v: %s.partial is left", a, b.Image)
		b.row.left++
	}
}

// killRestore kills rethaw at every step of a restore: nothing of it stays, or all.
func killRestore(t *testing.T) {
	b := newBench(t, "kill: restore, each step")
	b.restores((*fault.Step).Kills)
}

// failRestore has every call of a restore fail.
func failRestore(t *testing.T) {
	b := newBench(t, "error: restore, each step")
	b.restores((*fault.Step).Errors)
}

// restores strikes at restores of one image.
func (b *bench) restores(strikes func(*fault.Step) []fault.Strike) {
	t := b.t
	b.Checkpoint()
	b.AssertGone()
	was := digest(t, b.Image)
	once := func(run func(args []string, files [3]*os.File) error) {
		files, more := b.OpenStdio()
		// Messages of rethaw go where the container's would.
		args := append(b.RethawArgs("restore", "--detach", "--bundle", b.Bundle, "--image", b.Image), more...)
		if err := run(append(args, b.ID), files); err != nil {
			t.Errorf("%v", err)
			b.row.damaged++
		}
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	var steps []*fault.Step
	for range 2 {
		once(func(args []string, files [3]*os.File) error {
			out, err := b.program.Record(args, files)
			if err == nil && out.Code != 0 {
				t.Fatalf("an undisturbed restore: exit %d: %s", out.Code, b.Output())
			}
			steps = out.Steps
			return err
		})
		b.Check("restored while recorded")
		b.Rewind()
		b.Delete()
	}
	all := aims(t, steps, strikes)
	tried := 0
	for _, a := range all {
		if b.late(len(all) - tried) {
			break
		}
		tried++
		var out fault.Outcome
		said := len(b.Output())
		once(func(args []string, files [3]*os.File) (err error) {
			out, err = b.program.Run(args, files, a.Strike)
			return err
		})
		if out.Struck {
			b.row.injected++
		}
		b.awaitDogs(a)
		b.allOrNothing(a, out, b.Output()[min(said, len(b.Output())):])
		if now := digest(t, b.Image); !slices.Equal(was, now) {
			t.Errorf("%v: the image has changed", a)
			b.row.damaged++
			return
		}
		if t.Failed() {
			if b.harm++; b.harm >= maxHarm {
				return
			}
		}
	}
	b.enough(tried)
	b.Restore()
	b.Check("restored after all that")
	if diff, err := snapshot.Equal(b.before, b.Pid(), b.options(), restTime); err != nil || diff != "" {
		t.Errorf("restored after all that: from outside it differs (-before +after): %v\n%s", err, diff)
	}
}

// allOrNothing looks at what a restore has left, and takes it away.
func (b *bench) allOrNothing(a aim, out fault.Outcome, said string) {
	t := b.t
	t.Helper()
	nothing := func() bool {
		state, known := b.State()
		return len(b.Tasks()) == 0 && (!known || state.Status == "stopped")
	}
	b.settle()
	state, known := b.State()
	switch {
	case known && state.Status == "running" && (out.Code == 0 || a.Kill):
		// All of it, then.
		if b.intact(a) {
			b.Rewind()
		}
	case out.Code == 0:
		t.Errorf("%v: rethaw succeeded, and the container is %q: %s", a, state.Status, said)
		b.row.damaged++
	case !eventually(restTime, nothing):
		state, _ := b.State()
		t.Errorf("%v: exit %d, and %d tasks are left, the container is %q: %s", a, out.Code, len(b.Tasks()), state.Status, said)
		b.row.left++
	case !a.Kill:
		b.sensible(a, out.Code, said)
	}
	if _, known := b.State(); known {
		b.Delete()
	}
}

// settle waits until tasks that are being killed are dead.
func (b *bench) settle() {
	b.t.Helper()
	dying := func(pid int) bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return false
		}
		status := string(text)
		pending, _, _ := strings.Cut(status[strings.Index(status, "SigPnd:")+8:], "\n")
		mask, _ := strconv.ParseUint(strings.TrimSpace(pending), 16, 64)
		return mask&(1<<(unix.SIGKILL-1)) != 0 || !strings.Contains(status, "VmSize:")
	}
	eventually(restTime, func() bool { return !slices.ContainsFunc(b.Tasks(), dying) })
}

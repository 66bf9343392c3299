package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// streamed are programs with contents of each kind, and trees of each shape.
var streamed = []string{
	"bulk", "cow", "deleted", "fifo", "halfdead", "memfd", "memory", "orphan", "packetpipe", "pipe",
	"shm", "subreaper", "sysvshm", "tmpfs", "tree", "vdso", "zombie",
}

// TestStreams takes programs through a stream that is a file, and compares from inside
// and outside. Neither side finds a place for temporary files.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, name := range streamed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, name, needs[name])
			p.Stream = filepath.Join(t.TempDir(), "stream")
			s := subject{
				Container: p.Container,
				verify:    func(t *testing.T, when string) { t.Helper(); p.Check(when) },
				rewind:    p.Rewind,
				options:   snapshot.Options{Position: true},
			}
			s.verify(t, "before any checkpoint")
			s.round(t, true)
			if !t.Failed() && !dryRun() {
				s.leaveRunning(t)
			}
		})
	}
}

// streamMemory is what rethaw may need at either end of a stream, whatever goes
// through it, in bytes; streamBulk is what goes through it, in MB.
const (
	streamMemory = 40_000_000
	streamBulk   = 300
)

// TestStreamKeepsNothing sends a tree with hundreds of megabytes through a pipe into
// another container: no file comes to be for it, and neither side needs memory for it.
func TestStreamKeepsNothing(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	recipient, identity := keys(t)
	for _, one := range []struct {
		codec       string
		args, there []string
	}{
		{codec: "zstd"},
		{codec: "none"},
		{"zstd", []string{"--encrypt-to", recipient}, []string{"--identity", identity}},
	} {
		codec := strings.Join(append([]string{one.codec}, one.args...), " ")
		original := theRig(t).RunProgram(t, "bulk", rig.Config{Args: []string{strconv.Itoa(streamBulk)}})
		copied := theRig(t).NewProgram(t, "bulk", rig.Config{})
		copied.Follow(&original.Talk)
		w := newWatch(t, original.Bundle, copied.Bundle)
		p := newPassageFor(t, w.dir, -1, original.Container, copied.Container, append([]string{"-c", one.codec}, one.args...), one.there)
		p.arrived()
		w.nothing()
		original.AssertGone()
		copied.Check("at the other end")
		for range 2 {
			if name := <-p.spooled; name != "" {
				t.Errorf("%s: %s was written", codec, name)
			}
		}
		sent, received := <-p.sent, <-p.received
		t.Logf("%s: %d bytes passed; at the most %d KB at the source, %d KB at the sink", codec, p.valve.passed.Load(), sent>>10, received>>10)
		if p.valve.passed.Load() < streamBulk<<20*9/10 {
			t.Errorf("%s: only %d bytes came through the pipe", codec, p.valve.passed.Load())
		}
		if sent > streamMemory || received > streamMemory {
			t.Errorf("%s: rethaw needed %d bytes at the source and %d at the sink, and may %d", codec, sent, received, streamMemory)
		}
	}
}

// TestStreamRedis moves a real server.
func TestStreamRedis(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	r := startRedis(t, rig.LogFile, redisKeys/4)
	r.verify(t, "before")
	copied := theRig(t).New(t, rig.Config{Args: []string{"/bin/true"}, HostUsr: true})
	w := newWatch(t, r.c.Bundle, copied.Bundle)
	newPassage(t, w.dir, -1, r.c, copied).arrived()
	w.nothing()
	r.c.AssertGone()
	r.c = copied
	r.verify(t, "at the other end")
}

// TestStreamPodman takes a container of podman through a stream.
func TestStreamPodman(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := thePodman(t, "bulk")
	name, stream := p.Name("bulk"), filepath.Join(t.TempDir(), "stream")
	talk := p.RunProgram(name, "bulk")
	talk.Check("before")
	ok(t, p.Rethaw("checkpoint", "-e", stream, name))
	assertStatus(t, p, name, "exited")
	ok(t, p.Rethaw("restore", "--detach", "-i", stream, name))
	assertStatus(t, p, name, "running")
	talk.Check("after restore")
}

// TestStreamInterrupted ends either side in the middle: the source goes on unharmed, and
// nothing stays at the sink.
func TestStreamInterrupted(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	original := theRig(t).RunProgram(t, "bulk", rig.Config{})
	pid := original.Pid()
	before, err := snapshot.Stable(pid, snapshot.Options{Stdio: original.StdioFiles(), Position: true}, restTime)
	if err != nil {
		t.Fatal(err)
	}
	// Among the pages, when the tree is half made; and before there is one.
	const pages, tmpfs = 14 << 20, 1 << 20
	for _, c := range []struct {
		name   string
		strike func(p *passage)
		// code is what the sink exits with, -1 for a signal.
		code int
		// at is how many bytes pass before.
		at int64
	}{
		{"source killed", func(p *passage) { _ = p.send.Process.Kill() }, exitImage, pages},
		{"source interrupted", func(p *passage) { _ = p.send.Process.Signal(unix.SIGINT) }, exitImage, pages},
		{"sink killed", func(p *passage) { _ = p.receive.Process.Kill() }, -1, pages},
		{"sink interrupted", func(p *passage) { _ = p.receive.Process.Signal(unix.SIGINT) }, exitInterrupted, pages},
		{"wire cut", func(p *passage) { p.valve.cut = true }, exitImage, pages},
		{"damaged", func(p *passage) { p.valve.spoil = true }, exitImage, pages},
		{"tmpfs damaged", func(p *passage) { p.valve.spoil = true }, exitImage, tmpfs},
		{"cut in a tmpfs", func(p *passage) { p.valve.cut = true }, exitImage, tmpfs},
		{"source killed in a tmpfs", func(p *passage) { _ = p.send.Process.Kill() }, exitImage, tmpfs},
	} {
		copied := theRig(t).NewProgram(t, "bulk", rig.Config{})
		w := newWatch(t, original.Bundle, copied.Bundle)
		p := newPassage(t, w.dir, c.at, original.Container, copied.Container, "-c", "none")
		<-p.valve.reached
		rig.Eventually(t, restTime, "tasks at the other end", func() bool { return len(copied.Tasks()) > 0 })
		c.strike(p)
		if p.valve.cut || p.valve.spoil {
			close(p.valve.opened)
			p.ended()
		} else {
			// The end must come by itself, not by what comes through the pipe.
			p.endedWith(c.code)
		}
		if code := p.receive.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: the sink exits with %d, want %d: %s", c.name, code, c.code, copied.Output())
		}
		if p.send.ProcessState.Success() {
			t.Errorf("%s: the source believes that all has arrived", c.name)
		}
		w.nothing()
		if c.name == "sink killed" {
			copied.Delete() // what the runtime keeps of it
		}
		copied.AssertGone()
		if now := original.Pid(); now != pid {
			t.Fatalf("%s: the source's init was %d and is %d", c.name, pid, now)
		}
		diff, err := snapshot.Equal(before, pid, snapshot.Options{Stdio: original.StdioFiles(), Position: true}, restTime)
		if err != nil || diff != "" {
			t.Errorf("%s: the original is not as it was: %v\n%s", c.name, err, diff)
		}
		original.Check("after: " + c.name)
	}
}

// TestStreamInAnotherOrder imports what was made of an image directory: it lands in a
// directory first, and nothing of that stays.
func TestStreamInAnotherOrder(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p, w := theRig(t).RunProgram(t, "bulk", rig.Config{}), newWorkspace(t)
	stream := filepath.Join(t.TempDir(), "stream")
	ok(t, w.run(nil, p.Container, "checkpoint", "--image", p.Image, "-e", stream, p.ID))
	p.AssertGone()
	if err := os.RemoveAll(p.Image); err != nil {
		t.Fatal(err)
	}
	seen := newWatch(t)
	cmd := workspace{t, seen.dir}.restore(p.Container, nil, "-i", stream)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, p.Output())
	}
	if names := seen.names(); len(names) != 1 || !strings.HasPrefix(filepath.Base(names[0]), "rethaw-import-") {
		t.Errorf("made meanwhile: %q", names)
	}
	workspace{t, seen.dir}.empty()
	p.Check("out of a directory")
}

// streamKills is how often TestStreamCrash kills rethaw.
const streamKills = 25

// TestStreamCrash kills rethaw at random moments of a checkpoint into a stream, plain and encrypted, during
// which the tasks stand still for longer: the container must go on as if nothing had
// happened.
func TestStreamCrash(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := startProgram(t, "selfcheck", rig.Config{})
	p.Stream = filepath.Join(t.TempDir(), "stream")
	recipient, _ := keys(t)
	v := newVictim(t, p)
	span := v.span(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range streamKills {
		args := []string{"--leave-running", "-e", p.Stream}
		if i%2 != 0 {
			args = append(args, "--encrypt-to", recipient)
		}
		run := p.StartRethaw("checkpoint", append(args, p.ID)...)
		after := time.Duration(random.Int64N(int64(span)))
		time.Sleep(after)
		run.Signal(unix.SIGKILL)
		run.Wait()
		if !v.unharmed(t) {
			t.Fatalf("kill %d of %d, %v after the start (seed %d), did harm", i+1, streamKills, after, seed)
		}
	}
	if v.interrupted > 2 {
		t.Errorf("%d of %d kills showed as an EINTR: the window is microseconds", v.interrupted, streamKills)
	}
	v.stillGood(t)
}

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/e2e/snapshot"
)

// streamed are programs with contents of each kind, and trees of each shape.
var streamed = []string{
	"bulk", "cow", "deleted", "fifo", "memfd", "memory", "orphan", "packetpipe", "pipe",
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
	for _, codec := range []string{"zstd", "none"} {
		original := theRig(t).RunProgram(t, "bulk", rig.Config{Args: []string{strconv.Itoa(streamBulk)}})
		copied := theRig(t).NewProgram(t, "bulk", rig.Config{})
		copied.Follow(&original.Talk)
		w := newWatch(t, original.Bundle, copied.Bundle)
		p := newPassage(t, w.dir, -1, original.Container, copied.Container, "-c", codec)
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

// watch sees files come to be in directories, and in a TMPDIR of its own.
type watch struct {
	t    *testing.T
	dir  string
	fd   int
	dirs map[int]string
}

func newWatch(t *testing.T, dirs ...string) *watch {
	t.Helper()
	w := &watch{t: t, dir: t.TempDir(), dirs: map[int]string{}}
	var err error
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	for _, dir := range append(dirs, w.dir) {
		n, err := unix.InotifyAddWatch(w.fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO)
		if err != nil {
			t.Fatalf("watch %s: %v", dir, err)
		}
		w.dirs[n] = dir
	}
	return w
}

// names are the files that have been made since the last call.
func (w *watch) names() (names []string) {
	w.t.Helper()
	b := make([]byte, 64<<10)
	n, err := unix.Read(w.fd, b)
	if err != nil {
		return nil // EAGAIN: none
	}
	for b = b[:n]; len(b) >= unix.SizeofInotifyEvent; {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+event.Len]), "\x00")
		b = b[unix.SizeofInotifyEvent+event.Len:]
		names = append(names, filepath.Join(w.dirs[int(event.Wd)], name))
	}
	return names
}

// nothing fails the test if a file has been made.
func (w *watch) nothing() {
	w.t.Helper()
	if names := w.names(); len(names) > 0 {
		w.t.Errorf("files were made: %q", names)
	}
}

// passage is a checkpoint and a restore with a pipe between them.
type passage struct {
	t             *testing.T
	send, receive *exec.Cmd
	valve         *valve
	said          bytes.Buffer
	copied        *rig.Container
	// sent and received give the most memory that each had.
	sent, received chan int64
	// spooled gives, for each, the name of a file of some size that it wrote to, "" for
	// none.
	spooled chan string
}

// newPassage starts both. The pipe is closed after gate bytes, unless that is negative.
func newPassage(t *testing.T, dir string, gate int64, from, to *rig.Container, args ...string) *passage {
	t.Helper()
	p := &passage{t: t, copied: to, sent: make(chan int64, 1), received: make(chan int64, 1), spooled: make(chan string, 2)}
	in, out := pipe(t)
	more, end := pipe(t)
	p.valve = &valve{from: in, to: end, gate: gate, reached: make(chan struct{}), opened: make(chan struct{})}
	w := workspace{t, dir}
	p.send = w.command(from, "checkpoint", append(append([]string{"-e", "-"}, args...), from.ID)...)
	p.send.Stdout, p.send.Stderr = out, &p.said
	p.receive = w.restore(to, more, "-i", "-")
	for _, one := range []struct {
		cmd  *exec.Cmd
		peak chan int64
	}{{p.receive, p.received}, {p.send, p.sent}} {
		if err := one.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { one.peak <- rig.Peak(one.cmd.Process.Pid) }()
		go p.spools(one.cmd.Process.Pid)
	}
	out.Close()
	more.Close()
	go p.valve.run()
	return p
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// spools follows a process to its end and looks for files on filesystems of the host that
// it writes to.
func (p *passage) spools(pid int) {
	devices := map[uint64]bool{}
	for _, dir := range []string{"/", "/tmp", "/var/tmp", "/root", p.copied.Bundle} {
		var stat unix.Stat_t
		if unix.Stat(dir, &stat) == nil {
			devices[stat.Dev] = true
		}
	}
	const some = 1 << 20
	found := ""
	for {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil || len(entries) == 0 {
			p.spooled <- found
			return
		}
		for _, e := range entries {
			link := fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())
			var stat unix.Stat_t
			if unix.Stat(link, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && devices[stat.Dev] && stat.Size > some {
				if info, err := e.Info(); err == nil && info.Mode()&0o200 != 0 { // open for writing (proc(5))
					found, _ = os.Readlink(link)
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// arrived waits for both to succeed.
func (p *passage) arrived() {
	p.t.Helper()
	if err := p.send.Wait(); err != nil {
		p.t.Errorf("checkpoint: %v: %s", err, p.said.String())
	}
	if err := p.receive.Wait(); err != nil {
		p.t.Fatalf("restore: %v: %s", err, p.copied.Output())
	}
}

// ended waits for both, however they end.
func (p *passage) ended() {
	_ = p.receive.Wait()
	_ = p.send.Wait()
	p.t.Logf("source: %v: %s", p.send.ProcessState, p.said.String())
}

// endedWith waits for the side that was struck first.
func (p *passage) endedWith(sink int) {
	if sink == exitImage {
		_ = p.send.Wait()
		close(p.valve.opened)
		_ = p.receive.Wait()
	} else {
		_ = p.receive.Wait()
		close(p.valve.opened)
		_ = p.send.Wait()
	}
	p.t.Logf("source: %v: %s", p.send.ProcessState, p.said.String())
}

// valve lets bytes pass from one pipe to another, and waits among them.
type valve struct {
	from, to *os.File
	gate     int64
	// reached is closed at the gate, and opened lets the rest pass: cut, or spoiled, if
	// it was told to before.
	reached, opened chan struct{}
	cut, spoil      bool
	passed          atomic.Int64
}

func (v *valve) run() {
	defer v.from.Close()
	defer v.to.Close()
	b := make([]byte, 64<<10)
	for waited := v.gate < 0; ; {
		n, err := v.from.Read(b)
		if n > 0 && !waited && v.passed.Load() >= v.gate {
			waited = true
			close(v.reached)
			<-v.opened
			if v.cut {
				return
			}
			if v.spoil {
				b[n/2] ^= 1
			}
		}
		if _, failed := v.to.Write(b[:n]); failed != nil || err != nil {
			return
		}
		v.passed.Add(int64(n))
	}
}

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// TestLocker: SQLite in the middle of a transaction, a shell that has locked a file
// by flock(1), and a flock(1) that waits for it.
func TestLocker(t *testing.T) {
	t.Parallel()
	nonce := rand.Text()
	c := theRig(t).New(t, rig.Config{Args: []string{"/usr/bin/python3", "-u", "/programs/locker.py", nonce}, HostUsr: true})
	c.AddProgram("programs/locker.py", "locker.py")
	c.Run()
	l := &locker{c}
	l.await(t, "ready")
	named(t, c.TryRethaw("check", c.ID), "flock(2) lock", "POSIX lock", "--file-locks")
	s := &subject{Container: c, verify: l.verify, save: []string{"--file-locks"}}
	s.cycle(t)
	if got, want := l.ask(t, "commit"), "before,"+nonce; got != want {
		t.Errorf("after the commit the table has %q, want %q", got, want)
	}
	if status := l.ask(t, "release"); status != "0" {
		t.Errorf("who waited for the lock ended with status %s", status)
	}
	if turn := awaitFile(t, c, "turn"); turn != "turn" {
		t.Errorf("who waited for the lock wrote %q", turn)
	}
}

// locker is the conversation with programs/locker.py.
type locker struct{ c *rig.Container }

// await takes the answer that begins so.
func (l *locker) await(t *testing.T, start string) string {
	t.Helper()
	path := filepath.Join(l.c.StateDir, "answer")
	answer := awaitFile(t, l.c, "answer")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(answer, start) {
		t.Errorf("the answer is %q", answer)
	}
	return answer
}

func (l *locker) ask(t *testing.T, command string) string {
	t.Helper()
	if dryRun() {
		t.Logf("ask %s", command)
	}
	if err := sendLine(l.c, "in", command); err != nil {
		t.Fatal(err)
	}
	return l.await(t, "")
}

// verify sees from other processes that all is locked, and that the waiter waits.
func (l *locker) verify(t *testing.T, when string) {
	t.Helper()
	for _, args := range [][]string{
		{"flock", "-n", "/data/lock", "true"},
		{"python3", "-c", "import sqlite3; sqlite3.connect('/data/db', timeout=0, isolation_level=None).execute('begin immediate')"},
	} {
		if r := l.c.Exec(args...); r.Code != 1 || strings.Contains(r.Stderr, "Error") && !strings.Contains(r.Stderr, "database is locked") {
			t.Errorf("%s: another process was not kept out: %v", when, r)
		}
	}
	if _, err := os.Stat(filepath.Join(l.c.StateDir, "turn")); err == nil {
		t.Errorf("%s: who waits for a lock has got it", when)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/1", l.c.Pid()))
	if err != nil || !strings.Contains(string(info), "FLOCK  ADVISORY  WRITE") {
		t.Errorf("%s: standard output is not locked: %v\n%s", when, err, info)
	}
}

// TestLockRefused: what cannot be saved is named, and looking at it breaks nothing.
func TestLockRefused(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	c := theRig(t).New(t, rig.Config{Args: []string{"/usr/bin/python3", "-u", "/programs/oddlocks.py"}, HostUsr: true})
	c.AddProgram("programs/oddlocks.py", "oddlocks.py")
	c.Run()
	awaitFile(t, c, "ready")
	for _, args := range [][]string{{"check"}, {"checkpoint", "--image", c.Image}} {
		r := c.TryRethaw(args[0], append(args[1:], "--file-locks", c.ID)...)
		named(t, r, "held by the mapping alone", "/data/mapped", "being taken away (BREAKING)",
			"exclusive lease on a tmpfs", "lease on a file without a name")
	}
	if text, err := os.ReadFile(filepath.Join(c.StateDir, "broken")); err == nil {
		t.Errorf("%s", text)
	}
	if state, _ := c.State(); state.Status != "running" {
		t.Errorf("after refusals the container is %q", state.Status)
	}
}

// named wants a refusal that names things, which check does on its output.
func named(t *testing.T, r rig.Result, says ...string) {
	t.Helper()
	if r.Code != exitUnsupported {
		t.Errorf("exit code %d, want %d: %v", r.Code, exitUnsupported, r)
	}
	for _, word := range says {
		if !strings.Contains(r.Stdout+r.Stderr, word) {
			t.Errorf("%q is not in:\n%s%s", word, r.Stdout, r.Stderr)
		}
	}
}

// TestLockTaken: locks that somebody outside holds by the time of the restore. It fails
// as a whole, names who, and goes through when they are free again. A lock that was
// always somebody else's stays that.
func TestLockTaken(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := startProgram(t, "lock", rig.Config{})
	open := func(name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(p.StateDir, "lock.1", name), flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	// Ours from the beginning, beside theirs.
	shared, file := open("shared", os.O_RDWR), open("file", os.O_RDWR)
	if err := unix.Flock(int(shared.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 100, Len: 10}); err != nil {
		t.Fatal(err)
	}
	p.Checkpoint("--file-locks", "--leave-running")
	p.Check("the original, left running")
	// A copy from the same root filesystem cannot have what the original holds.
	other := theRig(t).New(t, rig.Config{Args: []string{"/programs/lock"}})
	other.EditSpec(func(spec *specs.Spec) {
		spec.Root.Path = p.Rootfs
		for i, m := range spec.Mounts {
			if m.Destination == "/state" {
				spec.Mounts[i].Source = p.StateDir
			}
		}
	})
	refused(t, other.TryRethaw("restore", "--detach", "--bundle", other.Bundle, "--image", p.Image, other.ID),
		exitState, "locked by a lease of process", "(lock) of the host")
	other.AssertGone()
	p.Check("the original, after the copy has failed")
	p.Rewind()
	p.Rewind()
	p.Delete()
	p.AssertGone()

	for _, grab := range []struct {
		name string
		take func() (*os.File, error)
		want []string
	}{
		{"flock", func() (*os.File, error) {
			f := open("dead", os.O_RDWR)
			return f, unix.Flock(int(f.Fd()), unix.LOCK_SH)
		}, []string{"flock lock", "lock.1/dead", fmt.Sprintf("process %d", os.Getpid())}},
		{"range", func() (*os.File, error) {
			f := open("file", os.O_RDWR)
			return f, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 1<<40 + 5})
		}, []string{"posix lock", "lock.1/file", "by somebody else"}},
		{"lease", func() (*os.File, error) { return open("wlease", os.O_RDONLY), nil }, []string{"lease lock", "lock.1/wlease", "others have opened it"}},
	} {
		f, err := grab.take()
		if err != nil {
			t.Fatalf("%s: %v", grab.name, err)
		}
		refused(t, p.TryRethaw("restore", "--detach", "--file-locks", "--bundle", p.Bundle, "--image", p.Image, p.ID), exitState, grab.want...)
		p.AssertGone()
		f.Close()
	}
	p.Restore("--file-locks")
	p.Check("after the others have gone")

	for _, f := range []*os.File{shared, file} {
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
		if err != nil || strings.Count(string(info), "lock:") != 1 {
			t.Errorf("our own lock on %s: %v\n%s", f.Name(), err, info)
		}
	}
}

// TestPodmanLocks: options as podman's, and locks on files of an overlay.
func TestPodmanLocks(t *testing.T) {
	t.Parallel()
	p := thePodman(t, "lock")
	name := p.Name("lock")
	talk := p.RunProgram(name, "lock")
	talk.Check("before")
	named(t, p.Rethaw("checkpoint", name), "/tmp/lock.1/posix", "--file-locks")
	talk.Check("after a refusal")
	ok(t, p.Rethaw("checkpoint", "--file-locks", name))
	assertStatus(t, p, name, "exited")
	ok(t, p.Rethaw("restore", "--detach", "--file-locks", name))
	talk.Check("after restore")
}

// TestHookLocks: the image of an annotation has the locks if another asks for them.
func TestHookLocks(t *testing.T) {
	t.Parallel()
	p := theRig(t).NewProgram(t, "lock", rig.Config{})
	addHook(t, p.Container, "checkpoint.file=/state/ready", "checkpoint.file-locks=true")
	p.Run()
	p.WaitReady()
	taken(t, p.Container, 1)
	p.Delete()
	p.Restore()
	p.Check("after restore")
}

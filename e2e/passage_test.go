package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/e2e/rig"
)

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
		// Where a checkpoint tries how dnotify shows, it needs a directory, and nothing in it.
		if !strings.HasPrefix(name, "rethaw-dnotify") {
			names = append(names, filepath.Join(w.dirs[int(event.Wd)], name))
		}
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
	return newPassageFor(t, dir, gate, from, to, args, nil)
}

// newPassageFor is newPassage with options for the sink too.
func newPassageFor(t *testing.T, dir string, gate int64, from, to *rig.Container, args, there []string) *passage {
	t.Helper()
	p := &passage{t: t, copied: to, sent: make(chan int64, 1), received: make(chan int64, 1), spooled: make(chan string, 2)}
	in, out := pipe(t)
	more, end := pipe(t)
	p.valve = &valve{from: in, to: end, gate: gate, reached: make(chan struct{}), opened: make(chan struct{})}
	w := workspace{t, dir}
	p.send = w.command(from, "checkpoint", append(append([]string{"-e", "-"}, args...), from.ID)...)
	p.send.Stdout, p.send.Stderr = out, &p.said
	p.receive = w.restore(to, more, append(there, "-i", "-")...)
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
		time.Sleep(10 * time.Millisecond)
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

package agent

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// forker is a shell that is pid 1 of its own pid namespace. It forks once for
// each line that it reads and tells the child's pid. A Go program would not do:
// its runtime takes pids for threads whenever it likes.
type forker struct {
	pid int
	in  io.Writer
	out *bufio.Reader
}

func startForker(tb testing.TB) *forker {
	tb.Helper()
	cmd := exec.Command("/bin/sh", "-c", `while read x; do : & echo $!; wait; done`)
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Skipf("cannot make a pid namespace: %v", err)
	}
	tb.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &forker{cmd.Process.Pid, in, bufio.NewReader(out)}
}

func (f *forker) fork(tb testing.TB) int {
	tb.Helper()
	if _, err := io.WriteString(f.in, "\n"); err != nil {
		tb.Fatal(err)
	}
	line, err := f.out.ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		tb.Fatal(err)
	}
	return pid
}

func newAgent(tb testing.TB, f *forker) *Agent {
	tb.Helper()
	a, err := New(f.pid)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		tb.Skipf("not permitted here: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(a.Close)
	return a
}

func pidMax(tb testing.TB) int {
	b, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		tb.Skip(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestSetNext(t *testing.T) {
	f := startForker(t)
	a := newAgent(t, f)
	top := pidMax(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		pid, scratch := 2+rng.IntN(top-2), 0
		switch i % 4 {
		case 0:
			pid = 2 + rng.IntN(500) // around the kernel's RESERVED_PIDS
		case 1:
			scratch = 2 + rng.IntN(top-2)
		}
		if err := a.SetNext(pid, scratch); err != nil {
			t.Fatal(err)
		}
		if got := f.fork(t); got != pid {
			t.Fatalf("call %d: the fork got pid %d, want %d", i, got, pid)
		}
	}
	// One write is enough for a run.
	if err := a.SetNext(1000, 0); err != nil {
		t.Fatal(err)
	}
	for want := 1000; want < 1020; want++ {
		if got := f.fork(t); got != want {
			t.Fatalf("the fork got pid %d, want %d", got, want)
		}
	}
}

func TestSetNextRefused(t *testing.T) {
	// PID_MAX_LIMIT of 64-bit kernels; since Linux 6.14 each namespace has a
	// kernel.pid_max of its own, which begins with it.
	const limit = 1 << 22
	f := startForker(t)
	a := newAgent(t, f)
	for _, tt := range []struct {
		pid, scratch int
		is           error
	}{
		{1, 0, unix.EINVAL},
		{-5, 7, unix.EINVAL},
		{7, 1, unix.EINVAL},
		{7, limit, unix.EINVAL},
		{limit + 10, 7, unix.EINVAL},
	} {
		if err := a.SetNext(tt.pid, tt.scratch); !errors.Is(err, tt.is) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
	if _, err := New(1<<22 + 1); !errors.Is(err, unix.ESRCH) {
		t.Errorf("no such task: got %v", err)
	}
}

func TestSetNextAfterInit(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "read x")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("cannot make a pid namespace: %v", err)
	}
	a := newAgent(t, &forker{pid: cmd.Process.Pid})
	in.Close()
	cmd.Wait()
	if err := a.SetNext(100, 0); err == nil {
		t.Error("a namespace without init took a pid")
	} else {
		t.Log(err)
	}
}

func BenchmarkSetNext(b *testing.B) {
	f := startForker(b)
	a := newAgent(b, f)
	for b.Loop() {
		if err := a.SetNext(1000, 0); err != nil {
			b.Fatal(err)
		}
	}
}

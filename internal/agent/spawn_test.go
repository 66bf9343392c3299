package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func spawnOrSkip(t *testing.T, p Placeholder) *Spawned {
	t.Helper()
	s, err := Spawn(p)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("not permitted here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// freePID returns a pid that nobody has.
func freePID(t *testing.T) int {
	t.Helper()
	for pid := pidMax(t) - 100; pid > 1000; pid-- {
		if unix.Kill(pid, 0) == unix.ESRCH {
			return pid
		}
	}
	t.Skip("no free pid")
	return 0
}

// TestSpawnCloseTraced closes one that is seized but was never let go.
func TestSpawnCloseTraced(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := spawnOrSkip(t, Placeholder{Exe: "/bin/true"})
	seize(t, s.PID)
	if err := unix.PtraceInterrupt(s.PID); err != nil {
		t.Fatal(err)
	}
	wait(t, s.PID)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(s.PID, 0); err != unix.ESRCH {
		t.Errorf("pid %d is still there: %v", s.PID, err)
	}
}

func seize(t *testing.T, pid int) {
	t.Helper()
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0,
		unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_EXITKILL, 0, 0)
	if errno != 0 {
		t.Fatalf("PTRACE_SEIZE: %v", errno)
	}
}

func TestSpawnExec(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid := freePID(t)
	s := spawnOrSkip(t, Placeholder{SetTID: []int{pid}, Exe: "/bin/sh", Args: []string{"sh", "-c", "exit 7"}})
	if _, err := Spawn(Placeholder{SetTID: []int{pid}, Exe: "/bin/true"}); !errors.Is(err, unix.EEXIST) {
		t.Errorf("the same pid again gave %v", err)
	}
	seize(t, pid)
	// A stop in the middle of its wait must not disturb it.
	if err := unix.PtraceInterrupt(pid); err != nil {
		t.Fatal(err)
	}
	wait(t, pid)
	if err := unix.PtraceCont(pid, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(); err != nil {
		t.Fatal(err)
	}
	status := wait(t, pid)
	if !status.Stopped() || status.TrapCause() != unix.PTRACE_EVENT_EXEC {
		t.Fatalf("status %#x, want PTRACE_EVENT_EXEC", status)
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if string(comm) != "sh\n" {
		t.Errorf("comm %q", comm)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Error(err)
	}
	for _, fd := range fds {
		if len(fd.Name()) > 1 || fd.Name() > "2" {
			t.Errorf("descriptor %s has leaked", fd.Name())
		}
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if !bytes.Contains(line, []byte("SigBlk:\t0000000000000000\n")) {
		t.Errorf("signals are blocked:\n%s", line)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.PtraceCont(pid, 0); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, pid); status.ExitStatus() != 7 {
		t.Errorf("status %#x, want exit 7", status)
	}
}

func TestSpawnFails(t *testing.T) {
	s := spawnOrSkip(t, Placeholder{Exe: filepath.Join(t.TempDir(), "absent")})
	if err := s.Exec(); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, s.PID); status.ExitStatus() != 127 {
		t.Errorf("status %#x", status)
	}
	if err := s.Err(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Err gave %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Spawn(Placeholder{Namespaces: unix.CLONE_THREAD}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("CLONE_THREAD gave %v", err)
	}
}

func TestSpawnClose(t *testing.T) {
	for range 50 {
		s := spawnOrSkip(t, Placeholder{Exe: "/bin/true"})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(s.PID, 0); err != unix.ESRCH {
			t.Fatalf("pid %d is still there: %v", s.PID, err)
		}
	}
}

func TestSpawnNamespaces(t *testing.T) {
	out := filepath.Join(t.TempDir(), "pid")
	s := spawnOrSkip(t, Placeholder{
		SetTID:     []int{1},
		Namespaces: unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
		Exe:        "/bin/sh",
		Args:       []string{"sh", "-c", "echo $$ >" + out},
	})
	if err := s.Exec(); err != nil {
		t.Fatal(err)
	}
	wait(t, s.PID)
	if b, _ := os.ReadFile(out); string(b) != "1\n" {
		t.Errorf("pid inside is %q", b)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestOrphan looks whether the children end with a program that is killed.
func TestOrphan(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{"AGENT_TEST_SPAWN=1"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var a, b int
	if n, err := fmt.Fscan(out, &a, &b); n != 2 {
		t.Fatal(err)
	}
	if err := unix.Kill(a, 0); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if dead(a) && dead(b) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("children %d, %d outlived their parent", a, b)
		}
	}
}

// dead tells whether a process is gone or a zombie that init has not reaped.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

func TestMain(m *testing.M) {
	if os.Getenv("AGENT_TEST_SPAWN") == "" {
		os.Exit(m.Run())
	}
	var pids []any
	for range 2 {
		s, err := Spawn(Placeholder{Exe: "/bin/true"})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		pids = append(pids, s.PID)
	}
	fmt.Println(pids...)
	time.Sleep(time.Minute)
}

func wait(t *testing.T, pid int) unix.WaitStatus {
	t.Helper()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if err == nil {
			return status
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

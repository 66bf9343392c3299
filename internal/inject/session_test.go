package inject

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// victim starts a program that sleeps, and waits until it does.
func victim(t testing.TB) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("tracing and map_files need root")
	}
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 1000 {
		state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", cmd.Process.Pid))
		if bytes.HasPrefix(state, []byte("230 ")) { // clock_nanosleep
			return cmd.Process.Pid
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("sleep does not sleep")
	return 0
}

func read(t testing.TB, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// place finds where to put stub and arena, from /proc/PID/maps.
func place(maps string) (Place, error) {
	var p Place
	var mapped []Range
	for line := range strings.Lines(maps) {
		var r Range
		if _, err := fmt.Sscanf(line, "%x-%x", &r.Start, &r.End); err != nil {
			return p, err
		}
		mapped = append(mapped, r)
		if strings.Contains(line, "[vdso]") {
			p.VDSO = r
		}
	}
	arena, err := FreeRange(mapped, Size)
	p.Arena = arena
	return p, err
}

// visit enters pid, runs calls and leaves.
func visit(pid int, calls []Call) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	p, err := place(string(maps))
	if err != nil {
		return err
	}
	tracer := ptrace.NewTracer()
	defer tracer.Close()
	return tracer.Do(func() error {
		in, err := New()
		if err != nil {
			return err
		}
		defer in.Close()
		th, err := ptrace.Seize(pid, unix.PTRACE_O_TRACESYSGOOD)
		if err != nil {
			return err
		}
		if _, err := th.Halt(); err != nil {
			return err
		}
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer mem.Close()
		home, err := th.Registers()
		if err != nil {
			return err
		}
		s, err := in.Enter(th, mem, p, home)
		if err != nil {
			return err
		}
		if err := s.Run(calls); err != nil {
			return err
		}
		if err := s.Leave(); err != nil {
			return err
		}
		return th.Detach()
	})
}

func TestVisitLeavesNoTrace(t *testing.T) {
	pid := victim(t)
	maps, syscall := read(t, pid, "maps"), read(t, pid, "syscall")
	calls := make([]Call, 1000)
	for i := range calls {
		calls[i].Nr = unix.SYS_GETPID
	}
	calls[7] = Call{Nr: unix.SYS_CLOSE, Args: [6]uint64{12345}}
	start := time.Now()
	if err := visit(pid, calls); err != nil {
		t.Fatal(err)
	}
	t.Log("visit with 1000 calls took", time.Since(start))
	for i, c := range calls {
		if i != 7 && c.Ret != int64(pid) {
			t.Fatalf("call %d returned %d, want %d", i, c.Ret, pid)
		}
	}
	if calls[7].Ret != -int64(unix.EBADF) {
		t.Errorf("close returned %d, want EBADF", calls[7].Ret)
	}
	time.Sleep(5 * time.Millisecond)
	if now := read(t, pid, "maps"); now != maps {
		t.Errorf("maps changed:\n%s\n%s", maps, now)
	}
	// The sleep goes on as restart_syscall with the time that was left.
	now := strings.Fields(read(t, pid, "syscall"))
	was := strings.Fields(syscall)
	if now[0] != "219" || now[len(now)-1] != was[len(was)-1] {
		t.Errorf("system call was %v, is %v", was, now)
	}
	if s := read(t, pid, "status"); strings.Contains(s, "SigBlk:\tf") || !strings.Contains(s, "TracerPid:\t0") {
		t.Errorf("status after the visit:\n%s", s)
	}
}

// TestKilledVisits kills a visiting process at random moments: the visited one
// must sleep on, with nothing left in it.
func TestKilledVisits(t *testing.T) {
	if os.Getenv("INJECT_VISIT") != "" {
		pid, _ := strconv.Atoi(os.Getenv("INJECT_VISIT"))
		for {
			calls := make([]Call, 300)
			for i := range calls {
				calls[i].Nr = unix.SYS_GETPID
			}
			if err := visit(pid, calls); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	pid := victim(t)
	maps := read(t, pid, "maps")
	for n := range 60 {
		cmd := exec.Command(os.Args[0], "-test.run=TestKilledVisits$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("INJECT_VISIT=%d", pid))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Millisecond + time.Duration(rand.Intn(3000))*time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		if errs.Len() > 0 {
			t.Fatalf("round %d: visitor said %s", n, errs.String())
		}
		for range 200 {
			if f := strings.Fields(read(t, pid, "syscall")); f[0] == "219" || f[0] == "230" {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if now := read(t, pid, "maps"); now != maps {
			t.Fatalf("round %d: maps changed:\n%s", n, now)
		}
		if s := read(t, pid, "status"); !strings.Contains(s, "State:\tS") || !strings.Contains(s, "SigBlk:\t0000000000000000") {
			t.Fatalf("round %d: status\n%s", n, s)
		}
	}
}

func TestFreeRange(t *testing.T) {
	for _, c := range []struct {
		name   string
		mapped []Range
		want   uint64
	}{
		{"empty", nil, highest - margin - Size},
		{"vsyscall is ignored", []Range{{0xffffffffff600000, 0xffffffffff601000}}, highest - margin - Size},
		{"below the stack", []Range{{0x7ffff0000000, 0x7fffffffe000}}, 0x7ffff0000000 - margin - Size},
	} {
		got, err := FreeRange(c.mapped, Size)
		if err != nil || got != c.want {
			t.Errorf("%s: %#x, %v; want %#x", c.name, got, err, c.want)
		}
	}
	if _, err := FreeRange([]Range{{0, highest}}, Size); err == nil {
		t.Error("a full address space has room")
	}
}

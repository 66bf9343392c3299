package restore

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/vdso"
	"golang.org/x/sys/unix"
)

// TestLeaveJumps stops a thread that turns in a loop, takes the place where it stands for the inside of a jump, and has
// it get out of that.
func TestLeaveJumps(t *testing.T) {
	child := exec.Command("/proc/self/exe", "-test.run=^TestTurning$", "-test.v")
	child.Env = append(os.Environ(), "RETHAW_TURNING=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	tid := 0
	lines := bufio.NewScanner(out)
	for tid == 0 && lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "turning %d", &tid)
	}
	time.Sleep(20 * time.Millisecond)
	tracer := ptrace.NewTracer()
	defer tracer.Close()
	err = tracer.Do(func() error {
		th, err := ptrace.Seize(tid, 0)
		if err != nil {
			return err
		}
		for range 50 {
			if err := leaveOnce(t, th); err != nil {
				return err
			}
		}
		if _, err := th.Halt(); err != nil {
			return err
		}
		return th.Detach()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	sound := false
	for lines.Scan() {
		sound = sound || strings.HasPrefix(lines.Text(), "turned on")
	}
	if err := child.Wait(); err != nil || !sound {
		t.Errorf("the child does not go on: %v", err)
	}
}

func leaveOnce(t *testing.T, th *ptrace.Thread) error {
	// What stands still here must run on afterwards.
	if _, err := th.Halt(); err != nil {
		return err
	}
	regs, err := th.Registers()
	if err != nil {
		return err
	}
	const blocked = 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGUSR1-1)
	before, err := th.SigMask()
	if err != nil {
		return err
	}
	if err := th.SetSigMask(blocked); err != nil {
		return err
	}
	base := ptrace.PC(&regs) - 5
	jumps := []vdso.Jump{{Offset: 0, Code: make([]byte, 13)}}
	if err := leaveJumps(th, base, jumps); err != nil {
		return err
	}
	if regs, err = th.Registers(); err != nil {
		return err
	}
	if jumps[0].Inside(ptrace.PC(&regs) - base) {
		t.Errorf("it stands at %#x, %d bytes into the jump", ptrace.PC(&regs), ptrace.PC(&regs)-base)
	}
	if mask, err := th.SigMask(); err != nil || mask != blocked {
		t.Errorf("its signal mask is %#x: %v", mask, err)
	}
	if err := th.SetSigMask(before); err != nil {
		return err
	}
	if err := th.Cont(0); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	return nil
}

// TestTurning is the child of TestLeaveJumps.
func TestTurning(t *testing.T) {
	if os.Getenv("RETHAW_TURNING") == "" {
		t.Skip("runs as a child of TestLeaveJumps")
	}
	runtime.LockOSThread()
	fmt.Printf("turning %d\n", unix.Gettid())
	ended := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(ended)
	}()
	sum := uint64(1)
	for turns := 0; ; turns++ {
		for i := range uint64(1 << 16) {
			sum = sum*6364136223846793005 + i ^ sum>>33
		}
		select {
		case <-ended:
			fmt.Printf("turned on %d times: %d\n", turns, sum)
			return
		default:
		}
	}
}

package checkpoint

import (
	"os"
	"os/exec"
	"testing"
)

func TestKin(t *testing.T) {
	k := newKin(kcmpVM)
	self := newProcess(os.Getpid())
	if o := k.add(self); o != nil {
		t.Fatalf("the first process shares with %d", o.pid)
	}
	for range 20 {
		cmd := exec.Command("/bin/sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		if o := k.add(newProcess(cmd.Process.Pid)); o != nil {
			t.Errorf("process %d shares its memory with %d", cmd.Process.Pid, o.pid)
		}
	}
	again := newProcess(os.Getpid())
	if o := k.add(again); o != self {
		t.Errorf("a process shares its memory with %v, want itself", o)
	}
	if len(k.list) != 21 {
		t.Errorf("%d different processes, want 21", len(k.list))
	}
}

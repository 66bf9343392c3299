package timens

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestCommand executes a program in a namespace that unshare(1) makes.
func TestCommand(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("time namespaces need root")
	}
	ours, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []Offsets{{Monotonic: 1000e9 + 1, Boottime: 5e9}, {Monotonic: 77e9, Boottime: 0}, {Monotonic: -1500e6, Boottime: 0}} {
		args, err := Command(ahead, "cat", "/proc/self/timens_offsets")
		if err != nil {
			t.Skip(err)
		}
		said, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			t.Skipf("%v: %v", args, err)
		}
		got, err := Parse(said)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []int64{got.Monotonic - ours.Monotonic - ahead.Monotonic, got.Boottime - ours.Boottime - ahead.Boottime} {
			if d < 0 || d >= int64(time.Second) {
				t.Errorf("ahead by %+v of %+v it is %+v", ahead, ours, got)
			}
		}
	}
}

func TestByExec(t *testing.T) {
	if err := With(Offsets{Monotonic: 1}, func() error { return nil }); err != nil {
		t.Skip(err)
	}
	entered := ByExec()
	var said []byte
	err := With(Offsets{Monotonic: int64(1000 * time.Second)}, func() (err error) {
		said, err = exec.Command("cat", "/proc/self/timens_offsets").Output()
		return err
	})
	if (err == nil) != entered {
		t.Errorf("entered by exec: %v, and it fails with %v", entered, err)
	}
	t.Logf("entered by exec: %v\n%s", entered, said)
}

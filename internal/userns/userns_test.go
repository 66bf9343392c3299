package userns

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMap(t *testing.T) {
	m := Map{{Inside: 0, Outside: 100000, Count: 1000}, {Inside: 1000, Outside: 5000, Count: 1}, {Inside: 2000, Outside: 300000, Count: 10}}
	for _, c := range []struct {
		inside, outside uint32
	}{{0, 100000}, {999, 100999}, {1000, 5000}, {2009, 300009}} {
		if got, ok := m.Inside(c.outside); !ok || got != c.inside {
			t.Errorf("%d is %d inside (%v), want %d", c.outside, got, ok, c.inside)
		}
		if got, ok := m.Outside(c.inside); !ok || got != c.outside {
			t.Errorf("%d is %d outside (%v), want %d", c.inside, got, ok, c.outside)
		}
	}
	for _, id := range []uint32{0, 99999, 101000, 5001, 300010, 4294967295} {
		if got, ok := m.Inside(id); ok {
			t.Errorf("%d is %d inside, which has no number for it", id, got)
		}
	}
	for _, id := range []uint32{1001, 1999, 2010, 4294967295} {
		if got, ok := m.Outside(id); ok {
			t.Errorf("%d is %d outside", id, got)
		}
	}
	other := Map{{Inside: 7, Outside: 70, Count: 1}}
	if m.Root() != 100000 || other.Root() != 70 || (Map)(nil).Root() != 0 {
		t.Errorf("roots: %d, %d, %d", m.Root(), other.Root(), (Map)(nil).Root())
	}
	if turned := (Map{m[2], m[0], m[1]}); !m.Equal(turned) || m.Equal(turned[:2]) || m.Equal(nil) {
		t.Error("maps are compared wrongly")
	}
	if id, ok := (Map)(nil).Inside(42); !ok || id != 42 {
		t.Errorf("42 is %d in our own namespace (%v)", id, ok)
	}
	if got, want := m.String(), "0 100000 1000, 1000 5000 1, 2000 300000 10"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOf(t *testing.T) {
	users, groups, err := Of(os.Getpid())
	if err != nil || users != nil || groups != nil {
		t.Errorf("of our own: %v, %v, %v", users, groups, err)
	}
	cmd := exec.Command("/bin/sh", "-c", "echo; read end")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1234, Size: 3}}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	users, groups, err = Of(cmd.Process.Pid)
	if want := "0 1234 3"; err != nil || users.String() != want || groups.String() != want {
		t.Errorf("%v, %v, %v, want %s twice", users, groups, err, want)
	}
	if _, _, err := Of(1 << 30); err == nil {
		t.Error("of nobody: no error")
	}
}

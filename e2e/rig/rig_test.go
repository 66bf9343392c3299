package rig

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestOwner(t *testing.T) {
	self, err := owner(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	other, err := owner(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	if self == other {
		t.Errorf("two processes have one name: %s", self)
	}
	if name, err := owner(1 << 30); err == nil {
		t.Errorf("a process that there is not is called %s", name)
	}
}

func TestSpec(t *testing.T) {
	c := &Container{label: "c1", cgroup: "g", StateDir: "/there"}
	spec := c.spec(Config{Args: []string{"/bin/true"}, Caps: []string{"CAP_SYS_NICE"}, UID: 7, Stdio: Terminal})
	if !spec.Process.Terminal || spec.Process.User.UID != 7 {
		t.Errorf("process: %+v", spec.Process)
	}
	if len(spec.Process.Capabilities.Effective) != 0 {
		t.Error("a user has root's capabilities")
	}
	if !slices.Contains(spec.Process.Capabilities.Bounding, "CAP_SYS_NICE") || slices.Contains(defaultCaps, "CAP_SYS_NICE") {
		t.Error("capabilities of one container are those of another")
	}
	if spec.Linux.Seccomp == nil || c.spec(Config{Unconfined: true}).Linux.Seccomp != nil {
		t.Error("the filter is not where it should be")
	}
	state := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/state" })
	if state < 0 || spec.Mounts[state].Source != "/there" {
		t.Errorf("mounts: %+v", spec.Mounts)
	}
}

func TestSeccomp(t *testing.T) {
	names := strings.Fields(seccompAllowed)
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("seccomp.txt is not a sorted set")
	}
	for _, forbidden := range []string{"mount", "setns", "unshare", "clone", "clone3", "bpf", "reboot"} {
		if slices.Contains(names, forbidden) {
			t.Errorf("%s is allowed", forbidden)
		}
	}
}

func TestRootfs(t *testing.T) {
	for _, hostUsr := range []bool{false, true} {
		dir := t.TempDir()
		if err := makeRootfs(dir, hostUsr); err != nil {
			t.Skip(err) // a machine without busybox
		}
		if info, err := os.Stat(filepath.Join(dir, "tmp")); err != nil || info.Mode()&os.ModeSticky == 0 {
			t.Errorf("/tmp: %v %v", info, err)
		}
		sh := "bin/sh"
		if hostUsr {
			sh = "bin"
		}
		if _, err := os.Readlink(filepath.Join(dir, sh)); err != nil {
			t.Error(err)
		}
	}
}

func TestPipes(t *testing.T) {
	s, err := Pipe.open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.files[1].WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	s.identify()
	s.started()
	if len(s.roles) != 3 {
		t.Errorf("%d streams are known, want 3", len(s.roles))
	}
	Eventually(t, 5*time.Second, "the output", func() bool { return s.output() == "hello" })
}

// TestConsole sends the master of a terminal as a runtime does.
func TestConsole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	out := &stdio{}
	c, err := listenConsole(path, out)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix([]byte("/dev/ptmx"), unix.UnixRights(ends[0]), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(ends[1], []byte("over there")); err != nil {
		t.Fatal(err)
	}
	Eventually(t, 5*time.Second, "what was written", func() bool { return out.output() == "over there" })
	unix.Close(ends[0])
	unix.Close(ends[1])
}

// TestNamed: the end of one container is not that of another whose number begins with the same digits.
func TestNamed(t *testing.T) {
	for base, want := range map[string]bool{"e-1-2-c2": true, "e-1-2-c28": false, "e-1-2-c2-run": true, "e-1-2-c2.scope": true, "e-1-2-c3": false, "x": false} {
		if got := named(base, "e-1-2-c2"); got != want {
			t.Errorf("%s: %v", base, got)
		}
	}
}

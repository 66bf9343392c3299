package watchdog

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMend stops a thread in epoll_wait while its cgroup is frozen, dies, and sees that the call goes on.
func TestMend(t *testing.T) {
	dir := cgroup(t)
	child := exec.Command("/proc/self/exe", "-test.run=^TestSleeper$", "-test.v")
	child.Env = append(os.Environ(), "RETHAW_SLEEPER=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	child.Stdout = out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill() }()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(child.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	asleep(t, child.Process.Pid)
	freeze := filepath.Join(dir, "cgroup.freeze")
	for range 5 {
		dog, ended := served(t)
		if _, err := dog.Guard(Undo{Mend: &Mend{dir}}, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(freeze, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		if err := dog.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(freeze); err != nil || string(text) != "0\n" {
			t.Fatalf("cgroup.freeze is %q: %v", text, err)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil || !strings.Contains(out.String(), "undisturbed") {
		t.Errorf("the sleeper saw it: %v\n%s", err, out)
	}
}

// TestSleeper is the child of TestMend: an epoll_wait that only the end of stdin may end.
func TestSleeper(t *testing.T) {
	if os.Getenv("RETHAW_SLEEPER") == "" {
		t.Skip("runs as a child of TestMend")
	}
	runtime.LockOSThread()
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, 0, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLHUP}); err != nil {
		t.Fatal(err)
	}
	events := make([]unix.EpollEvent, 1)
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_WAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), 1, ^uintptr(0), 0, 0)
	if n != 1 || errno != 0 {
		t.Fatalf("epoll_wait returned %d, %v", n, errno)
	}
	fmt.Println("undisturbed")
}

// asleep waits until a thread of the process is in epoll_wait.
func asleep(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			if strings.HasPrefix(string(text), strconv.Itoa(unix.SYS_EPOLL_WAIT)+" ") {
				return
			}
		}
	}
	t.Fatal("the sleeper does not sleep")
}

// cgroup makes a cgroup of version 2.
func cgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.subtree_control")); err != nil {
			continue
		}
		dir, err := os.MkdirTemp(root, "rethaw-watchdog-")
		if err != nil {
			t.Skip("no cgroup of version 2 can be made:", err)
		}
		t.Cleanup(func() {
			for range 200 {
				if os.Remove(dir) == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%s is left", dir)
		})
		return dir
	}
	t.Skip("no cgroups of version 2 are mounted")
	return ""
}

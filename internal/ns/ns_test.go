package ns

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// start runs a shell script under unshare(1) and waits for its first line.
func start(t *testing.T, script string, args ...string) int {
	t.Helper()
	path, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("unshare(1) is not installed")
	}
	cmd := exec.Command(path, append(args, "sh", "-c", script+"\necho ready; read end")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Skipf("unshare %v is not permitted here", args)
	}
	return cmd.Process.Pid
}

func read(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

func TestEnter(t *testing.T) {
	dir := t.TempDir()
	pid := start(t, `
		hostname rethaw-inside
		mount -t tmpfs none "`+dir+`" && touch "`+dir+`/inside"`,
		"--mount", "--uts", "--ipc", "--net", "--cgroup")

	before := links(t)
	err := Enter(pid, All, func() error {
		if name, err := read("/proc/sys/kernel/hostname"); err != nil || name != "rethaw-inside" {
			t.Errorf("hostname %q, %v", name, err)
		}
		if _, err := os.Stat(dir + "/inside"); err != nil {
			t.Error(err)
		}
		for _, kind := range []string{"mnt", "uts", "ipc", "net", "cgroup"} {
			want, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
			if err != nil {
				t.Error(err)
			}
			if got, _ := os.Readlink("/proc/thread-self/ns/" + kind); got != want {
				t.Errorf("%s: in %s, want %s", kind, got, want)
			}
		}
		return errors.New("as returned")
	})
	if err == nil || err.Error() != "as returned" {
		t.Errorf("Enter gave %v", err)
	}
	if after := links(t); after != before {
		t.Errorf("the program was moved: %s, before %s", after, before)
	}
	if _, err := os.Stat(dir + "/inside"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("outside: %v", err)
	}
}

func TestRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/mark", []byte("inside"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pid := sleeper(t, dir, r)

	see := func(kinds Kinds) (ok bool) {
		if err := Enter(pid, kinds, func() error {
			_, err := os.Stat("/mark")
			ok = err == nil
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if see(Mount) {
		t.Error("Mount alone did not lead to the root of the namespace")
	}
	if !see(Mount | Root) {
		t.Error("Root did not lead to the root of the task")
	}
}

// sleeper starts a copy of the test program that has dir as its root and reads
// standard input until it ends.
func sleeper(t *testing.T, dir string, in *os.File) int {
	t.Helper()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/exe", exe, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/exe")
	cmd.Env = []string{"NS_TEST_SLEEPER=1"}
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: dir}
	cmd.Stdin = in
	if err := cmd.Start(); err != nil {
		t.Skipf("chroot: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestMain(m *testing.M) {
	if os.Getenv("NS_TEST_SLEEPER") != "" {
		os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}

func TestThread(t *testing.T) {
	pid := start(t, "hostname rethaw-thread", "--uts")
	th, err := Start(pid, UTS)
	if err != nil {
		t.Fatal(err)
	}
	tids := make(chan int, 100)
	var wg sync.WaitGroup
	for range cap(tids) {
		wg.Go(func() {
			err := th.Do(func() error {
				runtime.Gosched()
				var u unix.Utsname
				if err := unix.Uname(&u); err != nil {
					return err
				}
				if name := unix.ByteSliceToString(u.Nodename[:]); name != "rethaw-thread" {
					t.Errorf("hostname %q", name)
				}
				tids <- unix.Gettid()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(tids)
	tid := <-tids
	for other := range tids {
		if other != tid {
			t.Fatalf("calls ran on threads %d and %d", tid, other)
		}
	}
	if tid == os.Getpid() {
		t.Error("ran on the main thread")
	}
	th.Close()
	th.Close()
	if err := th.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close gave %v", err)
	}
}

func TestGoexit(t *testing.T) {
	th, err := Start(os.Getpid(), 0)
	if err != nil {
		t.Skipf("cannot join our own namespaces: %v", err)
	}
	if err := th.Do(func() error { runtime.Goexit(); return nil }); !errors.Is(err, errExited) {
		t.Errorf("got %v", err)
	}
	if err := th.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("after Goexit: %v", err)
	}
	th.Close()
}

func TestRefused(t *testing.T) {
	none := func() error { t.Error("was called"); return nil }
	for _, tt := range []struct {
		name  string
		pid   int
		kinds Kinds
		is    error
	}{
		{"no such task", 1<<22 + 1, UTS, unix.ESRCH},
		{"user namespace", os.Getpid(), unix.CLONE_NEWUSER, errors.ErrUnsupported},
		{"root alone", os.Getpid(), Root, unix.EINVAL},
	} {
		if err := Enter(tt.pid, tt.kinds, none); !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

func TestString(t *testing.T) {
	for k, want := range map[Kinds]string{
		Mount | Net:              "mnt,net",
		All:                      "mnt,uts,ipc,net,cgroup,root",
		PID | unix.CLONE_NEWUSER: "pid,0x10000000",
	} {
		if got := k.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// links tells the namespaces and the root that the main thread has.
func links(t *testing.T) string {
	t.Helper()
	var all []string
	for _, name := range []string{"ns/mnt", "ns/uts", "ns/ipc", "ns/net", "ns/cgroup", "root", "cwd"} {
		l, err := os.Readlink("/proc/self/" + name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return strings.Join(all, " ")
}

package procfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadSelf reads every file of the test itself, whatever kernel this is.
func TestReadSelf(t *testing.T) {
	pid := os.Getpid()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()

	stat, err := ReadStat(pid)
	if err != nil || stat.PID != pid || stat.PPID != os.Getppid() || !strings.HasPrefix(stat.Comm, "procfs.test") {
		t.Errorf("stat: %+v, %v", stat, err)
	}
	if s, err := ReadTaskStat(pid, tid); err != nil || s.PID != tid || s.StartCode != stat.StartCode {
		t.Errorf("stat of a thread: %+v, %v", s, err)
	}
	status, err := ReadStatus(pid)
	if err != nil || status.Pid != pid || status.ThreadPID() != pid || int(status.Uid[1]) != os.Geteuid() || status.Threads < 2 {
		t.Errorf("status: %+v, %v", status, err)
	}
	if s, err := ReadTaskStatus(pid, tid); err != nil || s.Pid != tid || s.Tgid != pid {
		t.Errorf("status of a thread: %+v, %v", s, err)
	}
	if tids, err := ListTasks(pid); err != nil || !slices.Contains(tids, tid) || !slices.IsSorted(tids) {
		t.Errorf("tasks: %v, %v", tids, err)
	}
	if pids, err := Pids(); err != nil || !slices.Contains(pids, pid) || !slices.IsSorted(pids) {
		t.Errorf("pids: %v, %v", pids, err)
	}
	limits, err := ReadLimits(pid)
	var nofile unix.Rlimit
	if e := unix.Getrlimit(unix.RLIMIT_STACK, &nofile); e != nil || err != nil || limits[unix.RLIMIT_STACK] != [2]uint64{nofile.Cur, nofile.Max} {
		t.Errorf("limits: %v, %v, %v", limits, err, e)
	}
	if s, err := ReadSyscall(pid, tid); err != nil || !s.Running && s.Number != unix.SYS_READ {
		t.Errorf("syscall: %+v, %v", s, err)
	}
	if aux, err := ReadAuxv(pid); err != nil || len(aux) == 0 {
		t.Errorf("auxv: %v, %v", aux, err)
	}
	for name, err := range map[string]error{
		"timers":   second(ReadTimers(pid)),
		"sched":    second(ReadSched(pid, tid)),
		"net/unix": second(ReadNetUnix(pid)),
	} {
		// These files are options of the kernel.
		if err != nil && !Gone(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var st unix.Stat_t
	if id, err := PIDNamespace(pid); err != nil || unix.Stat("/proc/self/ns/pid", &st) != nil || id != st.Ino {
		t.Errorf("pid namespace: %d, %v; stat %d", id, err, st.Ino)
	}
	if exe, err := Readlink(pid, "exe"); err != nil || filepath.Base(exe) != "procfs.test" {
		t.Errorf("exe: %q, %v", exe, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestReadAreas makes areas that need more than one read of smaps.
func TestReadAreas(t *testing.T) {
	const pages = 400
	mem, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	for i := 0; i < pages; i += 2 {
		if err := unix.Mprotect(mem[i*os.Getpagesize():(i+1)*os.Getpagesize()], unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	for name, read := range map[string]func(int) ([]VMA, error){"maps": ReadMaps, "smaps": ReadSmaps} {
		areas, err := read(os.Getpid())
		if err != nil || len(areas) < pages {
			t.Fatalf("%s: %d areas, %v", name, len(areas), err)
		}
		for _, special := range []string{"[stack]", "[vdso]"} {
			if !slices.ContainsFunc(areas, func(v VMA) bool { return v.Path == special && v.Special() }) {
				t.Errorf("%s: no %s", name, special)
			}
		}
	}
}

func TestReadFDs(t *testing.T) {
	pid := os.Getpid()
	fd, err := unix.Eventfd(42, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	fds, err := ListFDs(pid)
	if err != nil || !slices.Contains(fds, fd) || !slices.IsSorted(fds) {
		t.Errorf("descriptors: %v, %v", fds, err)
	}
	if fds, err := ListTaskFDs(pid, pid); err != nil || !slices.Contains(fds, fd) {
		t.Errorf("descriptors of a thread: %v, %v", fds, err)
	}
	info, err := ReadFDInfo(pid, fd)
	if err != nil || !info.HasEventfd || info.EventfdCount != 42 || info.Flags&unix.O_CLOEXEC == 0 || len(info.Other) != 0 {
		t.Errorf("eventfd: %+v, %v", info, err)
	}
	if link, err := Readlink(pid, fmt.Sprintf("fd/%d", fd)); err != nil || link != "anon_inode:[eventfd]" {
		t.Errorf("link: %q, %v", link, err)
	}
	if _, err := ReadTaskFDInfo(pid, pid, 1<<20); !Gone(err) {
		t.Errorf("a closed descriptor: %v", err)
	}
}

// TestReadGone reads a live child, a zombie, and nobody.
func TestReadGone(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no program to run:", err)
	}
	pid := cmd.Process.Pid
	if pids, err := Children(os.Getpid()); err != nil && !Gone(err) || err == nil && !slices.Contains(pids, pid) {
		t.Errorf("children: %v, %v; not %d", pids, err, pid)
	}
	stdin.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadStat(pid); err != nil || s.State != 'Z' {
		t.Errorf("zombie: %+v, %v", s, err)
	}
	if areas, err := ReadMaps(pid); err != nil || len(areas) != 0 {
		t.Errorf("maps of a zombie: %v, %v", areas, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	_, err = ReadStat(pid)
	var named *Error
	if !Gone(err) || !errors.Is(err, syscall.ENOENT) || !errors.As(err, &named) || named.PID != pid || named.File != "stat" {
		t.Errorf("nobody: %v", err)
	}
	if want := fmt.Sprintf("open /proc/%d/stat: no such file or directory", pid); err != nil && err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	for _, err := range []error{second(ListTasks(pid)), second(ListFDs(pid)), second(PIDNamespace(pid)), second(Children(pid))} {
		if !Gone(err) {
			t.Errorf("nobody: %v", err)
		}
	}
}

func TestParseNamespace(t *testing.T) {
	if id, err := ParseNamespace("pid:[4026531836]"); err != nil || id != 4026531836 {
		t.Errorf("%d, %v", id, err)
	}
	for _, s := range []string{"", ":", "pid:", "pid:[", "pid:[]", "pid:[x]", ":[1]", "pid:[1", "pid [1]"} {
		if id, err := ParseNamespace(s); err == nil {
			t.Errorf("%q accepted: %d", s, id)
		}
	}
}

func FuzzParseNamespace(f *testing.F) {
	f.Add("pid:[4026531836]")
	f.Fuzz(func(t *testing.T, s string) { _, _ = ParseNamespace(s) })
}

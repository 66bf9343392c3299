package sleeping

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// calls are the system calls that the sleeper can sleep in.
func calls() map[string]func(ns int64) unix.Errno {
	word := new(uint32)
	do := func(nr int, a ...uintptr) unix.Errno {
		a = append(a, 0, 0, 0, 0, 0, 0)
		_, _, errno := unix.Syscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5])
		return errno
	}
	spec := func(ns int64) uintptr {
		if ns < 0 {
			return 0
		}
		ts := unix.NsecToTimespec(ns)
		return keep(&ts)
	}
	ms := func(ns int64) uintptr {
		if ns < 0 {
			return math.MaxUint32
		}
		return uintptr(ns / 1e6)
	}
	epoll := func() uintptr {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			panic(err)
		}
		return uintptr(fd)
	}
	events := func() uintptr { return keep(new([16]unix.EpollEvent)) }
	all := map[string]func(int64) unix.Errno{
		"nanosleep": func(ns int64) unix.Errno { return do(unix.SYS_NANOSLEEP, spec(ns)) },
		"nanosleep with rest": func(ns int64) unix.Errno {
			return do(unix.SYS_NANOSLEEP, spec(ns), keep(new(unix.Timespec)))
		},
		"clock_nanosleep": func(ns int64) unix.Errno {
			return do(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_BOOTTIME, 0, spec(ns))
		},
		"clock_nanosleep with rest": func(ns int64) unix.Errno {
			t := spec(ns)
			return do(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_REALTIME, 0, t, t)
		},
		"ppoll":    func(ns int64) unix.Errno { return do(unix.SYS_PPOLL, 0, 0, spec(ns)) },
		"pselect6": func(ns int64) unix.Errno { return do(unix.SYS_PSELECT6, 0, 0, 0, 0, spec(ns)) },
		"epoll_pwait": func(ns int64) unix.Errno {
			e := epoll()
			defer unix.Close(int(e))
			return do(unix.SYS_EPOLL_PWAIT, e, events(), 16, ms(ns))
		},
		"epoll_pwait2": func(ns int64) unix.Errno {
			e := epoll()
			defer unix.Close(int(e))
			return do(unix.SYS_EPOLL_PWAIT2, e, events(), 16, spec(ns))
		},
		"futex": func(ns int64) unix.Errno {
			return do(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait|futexPrivate, 0, spec(ns))
		},
		"rt_sigtimedwait": func(ns int64) unix.Errno {
			set := new(uint64)
			*set = 1 << (unix.SIGUSR2 - 1)
			return do(unix.SYS_RT_SIGTIMEDWAIT, keep(set), 0, spec(ns), 8)
		},
		"semtimedop": func(ns int64) unix.Errno {
			id, _, errno := unix.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, 0o600)
			if errno != 0 {
				return errno
			}
			defer unix.Syscall(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID)
			op := &[3]int16{0, -1, 0}
			return do(unix.SYS_SEMTIMEDOP, id, keep(op), 1, spec(ns))
		},
	}
	for name, f := range legacyCalls(do, spec, ms, epoll, events) {
		all[name] = f
	}
	return all
}

// keep moves v to the heap for the life of the program: its address goes
// through an integer.
func keep[T any](v *T) uintptr {
	kept = append(kept, v)
	return uintptr(unsafe.Pointer(v))
}

var kept []any

func TestMain(m *testing.M) {
	if os.Getenv("SLEEPING_TEST") == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	all := calls()
	for {
		var ns int64
		var name string
		if _, err := fmt.Scanf("%d %q\n", &ns, &name); err != nil {
			return
		}
		start, _ := now(unix.CLOCK_MONOTONIC)
		fmt.Println(unix.Gettid(), start)
		errno := all[name](ns)
		end, _ := now(unix.CLOCK_MONOTONIC)
		fmt.Println(int(errno), end)
	}
}

// sleeper is a child that sleeps on demand.
type sleeper struct {
	pid, tid int
	start    int64 // when it began its call, CLOCK_MONOTONIC
	in       io.Writer
	out      *bufio.Reader
}

func startSleeper(tb testing.TB) *sleeper {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"SLEEPING_TEST=1", "GODEBUG=asyncpreemptoff=1"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &sleeper{pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
}

// sleep sends it to sleep and waits until it is.
func (s *sleeper) sleep(tb testing.TB, name string, d time.Duration) {
	tb.Helper()
	fmt.Fprintf(s.in, "%d %q\n", int64(d), name)
	if _, err := fmt.Fscanln(s.out, &s.tid, &s.start); err != nil {
		tb.Fatal(err)
	}
	want, _, _ := strings.Cut(name, " ")
	for range 1000 {
		call, err := procfs.ReadSyscall(s.pid, s.tid)
		if err != nil {
			tb.Skipf("cannot see system calls: %v", err)
		}
		if sh, ok := lookUp(int(call.Number), call.Args); ok && sh.name == want {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
	tb.Fatalf("%s: did not fall asleep", name)
}

// wake waits for the end of the call.
func (s *sleeper) wake(tb testing.TB) (errno unix.Errno, end int64) {
	tb.Helper()
	var e int
	if _, err := fmt.Fscanln(s.out, &e, &end); err != nil {
		tb.Fatal(err)
	}
	return unix.Errno(e), end
}

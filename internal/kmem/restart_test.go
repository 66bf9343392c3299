package kmem

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// sleepVariable has this program sleep in one of the calls, for a minute.
const sleepVariable = "RETHAW_TEST_SLEEP"

// minute is the time that they sleep for.
const minute = 60 * time.Second

// sleeps are the calls by the name that stands in sleepVariable.
var sleeps = map[string]struct {
	kind  RestartKind
	clock int32
	call  func(t *unix.Timespec) unix.Errno
}{
	"futex": {RestartFutex, unix.CLOCK_MONOTONIC, func(t *unix.Timespec) unix.Errno {
		var word uint32
		_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), 0, 0, uintptr(unsafe.Pointer(t)), 0, 0)
		return errno
	}},
	"nanosleep": {RestartSleep, unix.CLOCK_MONOTONIC, func(t *unix.Timespec) unix.Errno {
		_, _, errno := unix.Syscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(t)), 0, 0)
		return errno
	}},
	"clock_nanosleep": {RestartSleep, unix.CLOCK_BOOTTIME, func(t *unix.Timespec) unix.Errno {
		_, _, errno := unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_BOOTTIME, 0, uintptr(unsafe.Pointer(t)), 0, 0, 0)
		return errno
	}},
	"poll": {RestartPoll, unix.CLOCK_MONOTONIC, pollFor},
}

// TestMain is the sleeper, if it is told to.
func TestMain(m *testing.M) {
	if s, ok := sleeps[os.Getenv(sleepVariable)]; ok {
		runtime.LockOSThread()
		t := unix.NsecToTimespec(int64(minute))
		os.Stdout.WriteString("ready")
		os.Exit(int(s.call(&t)))
	}
	os.Exit(m.Run())
}

// TestRestartEnd interrupts sleepers by a stop signal, which is when the kernel writes down when they end.
func TestRestartEnd(t *testing.T) {
	r := open(t)
	for name, want := range sleeps {
		t.Run(name, func(t *testing.T) {
			if want.call(&unix.Timespec{Nsec: 1}) == unix.ENOSYS {
				t.Skip("no such call on this machine")
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), sleepVariable+"="+name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var before, after unix.Timespec
			unix.ClockGettime(want.clock, &before)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			if _, err := out.Read(make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			unix.ClockGettime(want.clock, &after)
			if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			pid := cmd.Process.Pid
			for stopped := false; !stopped; time.Sleep(time.Millisecond) {
				stat, err := procfs.ReadTaskStat(pid, pid)
				if err != nil {
					t.Fatal(err)
				}
				stopped = stat.State == 'T'
			}
			clock, end, err := r.RestartEnd(pid, want.kind)
			if err != nil || clock != want.clock || end < before.Nano()+int64(minute) || end > after.Nano()+int64(minute) {
				t.Errorf("ends at %d of clock %d, %v; want %d between %d and %d", end, clock, err, want.clock, before.Nano()+int64(minute), after.Nano()+int64(minute))
			}
		})
	}
}

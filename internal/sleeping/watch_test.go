package sleeping

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// allowed is the error that we accept, by far more than what is usual: the
// machine may be busy with other things between two instructions of a test.
const allowed = 100 * time.Millisecond

func TestLook(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(calls())) {
		undisturbed(t, name, func(t testing.TB) {
			const d = 300 * time.Millisecond
			s := startSleeper(t)
			s.sleep(t, name, d)
			time.Sleep(50 * time.Millisecond)
			blind := NewWatch()
			blind.noTimer = true
			for _, w := range []*Watch{blind, NewWatch()} {
				got, err := w.Look(s.pid, s.tid)
				if err != nil {
					t.Fatal(err)
				}
				off := time.Duration(got.Deadline - s.start - int64(d))
				t.Logf("%s, off by %v", got.Precision, off)
				if off.Abs() > allowed || got.Timeout != int64(d) || got.Absolute || got.Restarted {
					t.Errorf("got %+v", got)
				}
				if w == blind && got.Precision != Estimated {
					t.Errorf("precision %s without timers", got.Precision)
				}
			}
			s.wake(t)
		})
	}
}

// TestAccuracy sleeps often, with all processors busy in the second half.
func TestAccuracy(t *testing.T) {
	s := startSleeper(t)
	for _, load := range []bool{false, true} {
		if load {
			for range 4 {
				burner := exec.Command("/bin/sh", "-c", "while :; do :; done")
				if err := burner.Start(); err != nil {
					t.Fatal(err)
				}
				defer burner.Wait()
				defer burner.Process.Kill()
			}
		}
		var worst [2]time.Duration
		var exact int
		for i := range 40 {
			d := time.Duration(20+7*i%50) * time.Millisecond
			name := []string{"futex", "epoll_pwait", "nanosleep"}[i%3]
			s.sleep(t, name, d)
			time.Sleep(time.Duration(i%13) * time.Millisecond)
			for j := range 2 {
				w := NewWatch()
				w.noTimer = j == 0
				got, err := w.Look(s.pid, s.tid)
				if errors.Is(err, ErrAwake) || errors.Is(err, ErrUntimed) {
					continue // overslept under load
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.Name == name || got.Timeout == int64(d) {
					worst[j] = max(worst[j], time.Duration(got.Deadline-s.start-int64(d)).Abs())
					if got.Precision == Exact {
						exact++
					}
				}
			}
			s.wake(t)
		}
		t.Logf("load %v: worst error %v by the scheduler's clock, %v with timers (%d exact)",
			load, worst[0], worst[1], exact)
		// How exact it is on a machine that others keep busy is only told.
	}
}

func TestLookWithoutTimeout(t *testing.T) {
	s := startSleeper(t)
	s.sleep(t, "futex", -1)
	got, err := Look(s.pid, s.tid)
	if err != nil {
		t.Fatal(err)
	}
	if got.Timeout != -1 || got.Left != -1 || got.LeftAt(got.Looked) != -1 || got.Restart != ERESTARTSYS {
		t.Errorf("got %+v", got)
	}
}

func TestLookRefused(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cat := exec.Command("cat")
	if in, err := cat.StdinPipe(); err != nil {
		t.Fatal(err)
	} else if err := cat.Start(); err != nil {
		t.Skip(err)
	} else {
		defer cat.Wait()
		defer in.Close()
	}
	for range 10_000 {
		if call, err := procfs.ReadSyscall(cat.Process.Pid, cat.Process.Pid); err == nil && call.Number == unix.SYS_READ && call.Args[0] == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, tt := range []struct {
		name     string
		pid, tid int
		is       error
	}{
		{"ourselves", os.Getpid(), unix.Gettid(), ErrUntimed}, // in read
		{"a reader", cat.Process.Pid, cat.Process.Pid, ErrUntimed},
		{"nobody", 1<<22 + 1, 1<<22 + 1, os.ErrNotExist},
	} {
		if _, err := Look(tt.pid, tt.tid); !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// TestRestarted stops a sleeper as job control does, after which it goes on in
// restart_syscall.
func TestRestarted(t *testing.T) {
	for _, name := range []string{"nanosleep", "clock_nanosleep", "clock_nanosleep with rest", "poll", "futex"} {
		if calls()[name] == nil {
			continue
		}
		undisturbed(t, name, func(t testing.TB) {
			const d = 400 * time.Millisecond
			s := startSleeper(t)
			s.sleep(t, name, d)
			unix.Kill(s.pid, unix.SIGSTOP)
			time.Sleep(30 * time.Millisecond)
			unix.Kill(s.pid, unix.SIGCONT)
			time.Sleep(30 * time.Millisecond)
			got, err := Look(s.pid, s.tid)
			if err != nil {
				s.wake(t)
				t.Fatal(err)
			}
			off := time.Duration(got.Deadline - s.start - int64(d))
			t.Logf("%s %s, off by %v", got.Name, got.Precision, off)
			if !got.Restarted || got.Name != name && got.Name+" with rest" != name {
				t.Errorf("got %+v", got)
			}
			if off < -allowed || got.Precision == Exact && off > allowed {
				t.Errorf("off by %v", off)
			}
			if errno, end := s.wake(t); time.Duration(end-s.start) < d {
				t.Errorf("woke up after %v: %v", time.Duration(end-s.start), errno)
			}
		})
	}
}

// TestLookAll looks at several threads together, with a short list of timers and as if
// there were a long one.
func TestLookAll(t *testing.T) {
	for name, long := range map[string]int{"short list": 0, "long list": longList} {
		undisturbed(t, name, func(t testing.TB) {
			const d = 2 * time.Second
			var tasks []Task
			starts := map[Task]int64{}
			for _, call := range []string{"futex", "epoll_pwait", "nanosleep"} {
				s := startSleeper(t)
				s.sleep(t, call, d)
				tasks = append(tasks, Task{s.pid, s.tid})
				starts[tasks[len(tasks)-1]] = s.start
			}
			w := NewWatch()
			found := map[Task]Sleep{}
			take := func(task Task, s Sleep) { found[task] = s }
			if long > 0 {
				w.estimateAll(tasks, take)
			} else {
				w.LookAll(append(tasks, Task{os.Getpid(), os.Getpid()}, Task{1<<22 + 1, 1<<22 + 1}), take)
				delete(found, Task{os.Getpid(), os.Getpid()}) // our first thread may sleep or not
			}
			if len(found) != len(tasks) {
				t.Errorf("%d of %d sleeps found: %+v", len(found), len(tasks), found)
			}
			for task, s := range found {
				off := time.Duration(s.Deadline - starts[task] - int64(d))
				if off.Abs() > allowed || s.Timeout != int64(d) || long > 0 && s.Precision != Estimated {
					t.Errorf("%s: off by %v, %+v", s.Name, off, s)
				}
			}
		})
	}
}

func BenchmarkLook(b *testing.B) {
	s := startSleeper(b)
	s.sleep(b, "futex", time.Hour)
	w := NewWatch()
	for b.Loop() {
		if _, err := w.Look(s.pid, s.tid); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCalibrate(b *testing.B) {
	for b.Loop() {
		if _, err := calibrate(0); err != nil {
			b.Skip(err)
		}
	}
}

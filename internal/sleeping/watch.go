package sleeping

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// Watch looks at threads. It keeps the comparison of the clocks and the list of
// timers between looks, so it should live no longer than one checkpoint takes.
// It is used from one goroutine at a time.
type Watch struct {
	// Kernel is asked after the stop for the ends that it tells, and nothing of them is looked at before. It may be nil.
	Kernel  Kernel
	offsets map[int]int64 // CLOCK_MONOTONIC - rq_clock_task by processor
	ends    []int64       // of all sleeps with a timer, CLOCK_MONOTONIC, sorted
	listed  int64         // when ends was read, 0 if never
	noTimer bool          // there is no list of timers for us
}

// NewWatch returns a Watch that knows nothing yet.
func NewWatch() *Watch { return &Watch{offsets: make(map[int]int64)} }

// Look observes one thread with a Watch of its own; see [Watch.Look].
func Look(pid, tid int) (Sleep, error) { return NewWatch().Look(pid, tid) }

// tries is how often a thread is looked at that wakes up meanwhile.
const tries = 3

// Look observes thread tid of process pid, which must be neither frozen nor
// interrupted yet. It returns ErrAwake or ErrUntimed, wrapped, if there is no
// timed sleep. It needs the right to trace the thread, and root for an exact
// answer.
func (w *Watch) Look(pid, tid int) (Sleep, error) {
	s, err := Sleep{}, error(errMoved)
	for i := 0; i < tries && errors.Is(err, errMoved); i++ {
		s, err = w.look(thread{pid, tid})
	}
	if err != nil {
		return Sleep{}, fmt.Errorf("look at the sleep of thread %d of task %d: %w", tid, pid, err)
	}
	return s, nil
}

// errMoved tells that a thread has run while it was looked at.
var errMoved = fmt.Errorf("it keeps waking up: %w", ErrAwake)

func (w *Watch) look(t thread) (Sleep, error) {
	o, err := w.observe(t)
	if err != nil {
		return Sleep{}, err
	}
	return w.judge(&o)
}

// observation is what a thread showed of its sleep, before the kernel's timers
// are looked at.
type observation struct {
	thread
	sleep Sleep
	shape shape
	sched procfs.Sched
	// estimate tells that the beginning of the sleep is known, timed that a timer
	// of the kernel is running for it.
	estimate, timed bool
}

// observe reads what /proc tells of a thread.
func (w *Watch) observe(t thread) (observation, error) {
	// Most threads of a large program wait without a timeout, and are known by this alone.
	call, err := procfs.ReadSyscall(t.pid, t.tid)
	if err != nil {
		return observation{}, err
	}
	if call.Running || call.Number < 0 {
		return observation{}, ErrAwake
	}
	if call.Number != unix.SYS_RESTART_SYSCALL {
		if _, ok := lookUp(int(call.Number), call.Args); !ok {
			return observation{}, fmt.Errorf("system call %d: %w", call.Number, ErrUntimed)
		}
	}
	if o, err := w.observeLater(t, call); err != nil || o.sleep.later {
		return o, err
	}
	before, known, err := t.sched()
	if err != nil {
		return observation{}, err
	}
	if call, err = procfs.ReadSyscall(t.pid, t.tid); err != nil {
		return observation{}, err
	}
	if call.Running || call.Number < 0 {
		return observation{}, ErrAwake
	}
	nr, args := int(call.Number), call.Args
	s := Sleep{Syscall: nr, Args: args, Deadline: -1, Left: -1, Precision: Exact, Switches: before.VoluntarySwitches}
	if !known {
		if s.Switches, err = t.slept(); err != nil {
			return observation{}, err
		}
	}
	if nr == unix.SYS_RESTART_SYSCALL {
		s.Restarted = true
		if s.Syscall, err = t.restarted(args); err != nil {
			return observation{}, err
		}
	}
	sh, ok := lookUp(s.Syscall, args)
	if !ok {
		return observation{}, fmt.Errorf("system call %d: %w", s.Syscall, ErrUntimed)
	}
	s.Name, s.Absolute, s.Clock, s.Restart = sh.name, sh.absolute, sh.clock, sh.restart
	if s.Timeout, err = t.timeout(sh, args); err != nil {
		return observation{}, err
	}
	stat, err := t.stat()
	if err != nil {
		return observation{}, err
	}
	if s.Looked, err = now(unix.CLOCK_MONOTONIC); err != nil {
		return observation{}, err
	}
	s.Since = s.Looked
	if known {
		if offset, ok := w.offset(stat.Processor); ok {
			s.Since = min(before.ExecStart+offset, s.Looked)
		} else {
			known = false
		}
	}
	stopped := stat.State == 'T' || stat.State == 't'
	return observation{t, s, sh, before, known && !s.Restarted && !stopped, !stopped}, nil
}

// observeLater is observe for a call whose end the kernel's memory will tell after the stop; the sleep is not later if
// it is none of these.
func (w *Watch) observeLater(t thread, call procfs.Syscall) (o observation, err error) {
	s := Sleep{Syscall: int(call.Number), Args: call.Args, Precision: Bound, later: true}
	if s.Restarted = s.Syscall == unix.SYS_RESTART_SYSCALL; s.Restarted {
		if s.Syscall, err = t.restarted(call.Args); err != nil {
			return observation{}, err
		}
	}
	sh, ok := lookUp(s.Syscall, call.Args)
	if !ok || !w.blocked(s.Syscall, sh) {
		return observation{}, nil
	}
	s.Name, s.Clock, s.Restart = sh.name, sh.clock, sh.restart
	if s.Timeout, err = t.timeout(sh, call.Args); err != nil {
		return observation{}, err
	}
	if s.Looked, err = now(unix.CLOCK_MONOTONIC); err != nil {
		return observation{}, err
	}
	s.Since, s.Deadline, s.Left = s.Looked, -1, -1
	if s.Timeout >= 0 {
		s.Deadline, s.Left = add(s.Looked, s.Timeout), s.Timeout
	}
	return observation{thread: t, sleep: s, shape: sh}, nil
}

// judge finds the end of an observed sleep. The thread must not have run since it was
// observed.
func (w *Watch) judge(o *observation) (Sleep, error) {
	if o.sleep.later {
		return o.sleep, nil
	}
	if o.sleep.Timeout >= 0 && !o.sleep.Absolute {
		if err := w.end(&o.sleep, o.shape, o.estimate, o.timed); err != nil {
			return Sleep{}, err
		}
	}
	after, _, err := o.thread.sched()
	if err != nil {
		return Sleep{}, err
	}
	if after.Switches != o.sched.Switches || after.ExecStart != o.sched.ExecStart {
		return Sleep{}, errMoved
	}
	return o.sleep, nil
}

// end fills Deadline, Left and Precision. The sum of Since and Timeout is an
// upper bound in any case, and with estimate more than that; timed says that a
// timer of the kernel is running for the sleep.
func (w *Watch) end(s *Sleep, sh shape, estimate, timed bool) error {
	s.Precision = Bound
	if !wall(s.Clock) || sh.again {
		// Processor time passes at another rate: the rest of such a sleep is
		// known only after the stop.
		s.Deadline, s.Left = add(s.Looked, s.Timeout), s.Timeout
		return nil
	}
	if estimate {
		s.Precision = Estimated
	}
	s.Deadline = add(s.Since, s.Timeout)
	if timed && !sh.untimed {
		ends, err := w.timers(s)
		if err != nil {
			return err
		}
		var exact bool
		if s.Deadline, exact = match(ends, s.Looked, s.Deadline, s.Looked-s.Since, estimate); exact {
			s.Precision = Exact
		} else if len(ends) > 0 {
			// A timer that is not where it should be: the sleep began earlier.
			s.Precision = Bound
		}
	}
	s.Left = s.LeftAt(s.Looked)
	return nil
}

// wall says that a clock goes on while nothing runs.
func wall(clock int32) bool {
	return clock >= 0 && clock != unix.CLOCK_PROCESS_CPUTIME_ID && clock != unix.CLOCK_THREAD_CPUTIME_ID
}

// add adds without overflow; both are positive.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// offset compares the clocks, once per processor. One that we may not run on
// has to be taken for another, since there is nothing better: the clocks of a
// machine begin together, and the list of timers corrects the rest.
func (w *Watch) offset(cpu int) (int64, bool) {
	if o, ok := w.offsets[cpu]; ok {
		return o, true
	}
	o, err := calibrate(cpu)
	if err != nil {
		if o, err = ahead(); err != nil {
			return 0, false
		}
	}
	w.offsets[cpu] = o
	return o, true
}

// timers returns the ends of all sleeps, read after the thread fell asleep.
func (w *Watch) timers(s *Sleep) ([]int64, error) {
	if w.noTimer || w.listed > s.Since {
		return w.ends, nil
	}
	b, err := procfs.ReadFile(0, "timer_list")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		w.noTimer = true
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	timers, err := parseTimerList(b)
	if err != nil {
		return nil, err
	}
	mono, err := now(unix.CLOCK_MONOTONIC)
	if err != nil {
		return nil, err
	}
	w.listed, w.ends = mono, w.ends[:0]
	defer func() { slices.Sort(w.ends) }()
	clocks := [...]int32{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI}
	for _, t := range timers {
		base, err := now(clocks[t.base])
		if err != nil {
			return nil, err
		}
		w.ends = append(w.ends, mono+t.expiry-base)
	}
	return w.ends, nil
}

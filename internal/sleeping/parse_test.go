package sleeping

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const timerList = `Timer List Version: v0.10
HRTIMER_MAX_CLOCK_BASES: 8
now at 2035076422372 nsecs

cpu: 0
 clock 0:
  .base:       000000007278348f
  .index:      0
  .resolution: 1 nsecs
  .offset:     0 nsecs
active timers:
 #0: <00000000b450a29f>, tick_nohz_handler, S:01
 # expires at 2035080000000-2035080000000 nsecs [in 3577628 to 3577628 nsecs]
 #1: <0000000069a107f9>, hrtimer_wakeup, S:01
 # expires at 2035109499758-2035109549758 nsecs [in 33077386 to 33127386 nsecs]
 clock 1:
  .base:       00000000e42226c4
active timers:
 #0: <00000000b8ffdb02>, timerfd_tmrproc, S:01
 # expires at 4000000000000000000-4000000000000000000 nsecs [in 2204551613427601762 to 2204551613427601762 nsecs]
  .expires_next   : 2035080000000 nsecs
cpu: 1
 clock 6:
active timers:
 #0: <00000000b8ffdb02>, hrtimer_wakeup, S:01
 # expires at 77-99 nsecs [in 1 to 1 nsecs]
Tick Device: mode:     1
`

func TestParseTimerList(t *testing.T) {
	got, err := parseTimerList([]byte(timerList))
	want := []timer{{0, 2035109499758}, {2, 77}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(timer{})); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	for _, bad := range []string{"", "Timer List", "Timer List Version: x\n clock 9:\n",
		"Timer List Version: x\ncpu: 0\n clock 0:\n #0: <0>, hrtimer_wakeup, S:01\n # expires at x-y"} {
		if _, err := parseTimerList([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseTimerList(f *testing.F) {
	f.Add([]byte(timerList))
	f.Fuzz(func(t *testing.T, b []byte) {
		timers, err := parseTimerList(b)
		for _, timer := range timers {
			if err != nil || timer.base < 0 || timer.base > 3 {
				t.Errorf("%+v, %v", timer, err)
			}
		}
	})
}

func TestRestartedStack(t *testing.T) {
	const entry = "[<0>] do_syscall_64+0x71/0x280\n[<0>] entry_SYSCALL_64_after_hwframe+0x76/0x7e\n"
	for _, tt := range []struct {
		name, stack string
		arg         uint64
		nr          int
	}{
		{"futex", "[<0>] futex_wait_restart+0x47/0x80\n" + entry, 0x7f0000001000, unix.SYS_FUTEX},
		{"nanosleep", entry, 0x7f0000001000, unix.SYS_NANOSLEEP},
		{"clock_nanosleep", entry, unix.CLOCK_BOOTTIME, unix.SYS_CLOCK_NANOSLEEP},
		{"clock_nanosleep of a process", entry, 0xffffffec, unix.SYS_CLOCK_NANOSLEEP},
		{"stopped", "[<0>] do_signal_stop+0x16f/0x210\n" + entry, 0x7f0000001000, -1},
		{"awake", "", 0x7f0000001000, -1},
	} {
		nr, ok := restarted([]byte(tt.stack), [6]uint64{tt.arg})
		if ok != (tt.nr >= 0) || ok && nr != tt.nr {
			t.Errorf("%s: got %d, %v", tt.name, nr, ok)
		}
	}
}

func TestMatch(t *testing.T) {
	const ms = 1_000_000
	ends := []int64{500 * ms, 1000 * ms, 1002 * ms, 5000 * ms}
	for _, tt := range []struct {
		name            string
		now, end, slept int64
		estimate        bool
		want            int64
		exact           bool
	}{
		{"nearest", 900 * ms, 1002*ms - ms/10, 200 * ms, true, 1002 * ms, true},
		{"nearest, long", 900 * ms, 1000*ms + 10, 900 * ms, true, 1000 * ms, true},
		{"none near", 600 * ms, 1500 * ms, 10 * ms, true, 1500 * ms, false},
		{"none near but only one", 2000 * ms, 6000 * ms, 10 * ms, true, 5000 * ms, true},
		{"bound, only one", 2000 * ms, 6000 * ms, 10 * ms, false, 5000 * ms, true},
		{"bound, several", 600 * ms, 6000 * ms, 10 * ms, false, 6000 * ms, false},
		{"never earlier than now", 5500 * ms, 6000 * ms, 10 * ms, false, 6000 * ms, false},
	} {
		got, exact := match(ends, tt.now, tt.end, tt.slept, tt.estimate)
		if got != tt.want || exact != tt.exact {
			t.Errorf("%s: got %d, %v", tt.name, got, exact)
		}
	}
}

func TestNanoseconds(t *testing.T) {
	for _, tt := range []struct {
		sec, part int64
		form      form
		want      int64
		is        error
	}{
		{1, 2, timespec, 1_000_000_002, nil},
		{1, 2_000_000, timeval, 3_000_000_000, nil},
		{math.MaxInt64, 0, timespec, math.MaxInt64, nil},
		{math.MaxInt64 / 1_000_000_000, 999_999_999, timespec, math.MaxInt64, nil},
		{-1, 0, timespec, 0, unix.EINVAL},
		{0, math.MaxInt64, timeval, 0, unix.EINVAL},
	} {
		got, err := nanoseconds(tt.sec, tt.part, tt.form)
		if got != tt.want || !errors.Is(err, tt.is) {
			t.Errorf("%+v: got %d, %v", tt, got, err)
		}
	}
}

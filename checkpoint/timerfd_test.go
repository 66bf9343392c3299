package checkpoint

import (
	"testing"
	"time"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestTimerfd(t *testing.T) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	look := func() *specs.Timerfd {
		t.Helper()
		rec, err := timerfd(fd)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	if got := *look(); got != (specs.Timerfd{Clock: unix.CLOCK_MONOTONIC}) {
		t.Errorf("never armed: %+v", got)
	}
	set := func(flags int, value, every time.Duration) {
		t.Helper()
		s := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(value)), Interval: unix.NsecToTimespec(int64(every))}
		if err := unix.TimerfdSettime(fd, flags, &s, nil); err != nil {
			t.Fatal(err)
		}
	}
	set(0, 100*time.Second, time.Hour)
	if got := look(); got.Left < 90e9 || got.Left > 100e9 || got.Interval != 3600e9 || got.Date != 0 || got.Ticks != 0 {
		t.Errorf("relative: %+v", got)
	}
	at := monotonic() + 200e9
	set(unix.TFD_TIMER_ABSTIME, time.Duration(at), 0)
	if got := look(); got.SetFlags != unix.TFD_TIMER_ABSTIME || got.Date < at-1e9 || got.Date > at+1e9 {
		t.Errorf("absolute %d: %+v", at, got)
	}
	// An expired periodic timer stands still until it is looked at.
	set(0, time.Millisecond, 20*time.Millisecond)
	time.Sleep(70 * time.Millisecond)
	if got := look(); got.Ticks < 3 || got.Left <= 0 || got.Left > 20e6 {
		t.Errorf("expired: %+v", got)
	}
}

func TestCancelled(t *testing.T) {
	const both = unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
	for _, c := range []struct {
		rec  specs.Timerfd
		want bool
	}{
		{specs.Timerfd{SetFlags: both, Left: 5, Ticks: 1}, true},
		{specs.Timerfd{SetFlags: both, Left: 5}, false},
		{specs.Timerfd{SetFlags: both, Ticks: 1}, false},
		{specs.Timerfd{SetFlags: unix.TFD_TIMER_ABSTIME, Left: 5, Ticks: 1}, false},
		{specs.Timerfd{SetFlags: both, Left: 5, Ticks: 1, Interval: 9}, false},
	} {
		if got := cancelled(&c.rec); got != c.want {
			t.Errorf("%+v: %v", c.rec, got)
		}
	}
}

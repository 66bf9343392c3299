package restore

import (
	"encoding/binary"
	"testing"

	"github.com/rethaw/rethaw/internal/timens"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestDue(t *testing.T) {
	const abs = unix.TFD_TIMER_ABSTIME
	for name, c := range map[string]struct {
		rec    specs.Timerfd
		clocks clocks
		want   setting
	}{
		"disarmed":             {specs.Timerfd{Interval: 7, Ticks: 2}, clocks{monotonic: true, boottime: true}, setting{interval: 7, ticks: 2}},
		"relative":             {specs.Timerfd{Left: 30, Interval: 7}, clocks{monotonic: true, boottime: true}, setting{value: 30, interval: 7}},
		"to come":              {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 1020}, clocks{monotonic: true, boottime: true}, setting{abs, 1020, 0, 0}},
		"passed":               {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 900}, clocks{monotonic: true, boottime: true}, setting{abs, 900, 0, 0}},
		"passed many times":    {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 900, Interval: 30, Ticks: 1}, clocks{monotonic: true, boottime: true}, setting{abs, 1020, 30, 5}},
		"due now":              {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 1000, Interval: 30}, clocks{monotonic: true, boottime: true}, setting{abs, 1030, 30, 1}},
		"of another boot":      {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 5000000}, clocks{}, setting{abs, 1030, 0, 0}},
		"another namespace":    {specs.Timerfd{Clock: 1, SetFlags: abs, Left: 30, Date: 5000}, clocks{monotonic: true, shift: timens.Offsets{Monotonic: -500}}, setting{abs, 4500, 0, 0}},
		"another, boot clock":  {specs.Timerfd{Clock: 7, SetFlags: abs, Left: 30, Date: 5000}, clocks{boottime: true, shift: timens.Offsets{Boottime: 500}}, setting{abs, 5500, 0, 0}},
		"lost boot clock":      {specs.Timerfd{Clock: 7, SetFlags: abs, Left: 30, Date: 5000}, clocks{monotonic: true}, setting{abs, 1030, 0, 0}},
		"wall, another boot":   {specs.Timerfd{SetFlags: abs, Left: 30, Date: 1500}, clocks{}, setting{abs, 1500, 0, 0}},
		"alarm, another boot":  {specs.Timerfd{Clock: unix.CLOCK_REALTIME_ALARM, SetFlags: abs | 2, Left: 30, Date: 1500}, clocks{}, setting{abs | 2, 1500, 0, 0}},
		"expired, with a date": {specs.Timerfd{Clock: 1, SetFlags: abs, Ticks: 1}, clocks{monotonic: true, boottime: true}, setting{flags: abs, ticks: 1}},
	} {
		if got := due(&c.rec, 1000, c.clocks); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestArm(t *testing.T) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	const hour = 3600e9
	for name, c := range map[string]struct {
		s setting
		f func(int, setting) error
		// ticks are what a read gives.
		ticks uint64
	}{
		"armed":                {setting{value: hour}, arm, 0},
		"with ticks":           {setting{value: hour, interval: hour, ticks: 12}, arm, 12},
		"expired":              {setting{ticks: 1}, arm, 1},
		"to expire":            {setting{ticks: 1}, expire, 1},
		"periods ago":          {setting{flags: unix.TFD_TIMER_ABSTIME, value: now.Nano() + 1e9, interval: 2e9, ticks: 4}, expire, 4},
		"relative and periods": {setting{value: hour, interval: hour, ticks: 4}, expire, 1},
	} {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := c.f(fd, c.s); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.ticks > 0 {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(p, 1000); err != nil {
				t.Fatal(err)
			}
		}
		var b [8]byte
		_, err = unix.Read(fd, b[:])
		if got := binary.NativeEndian.Uint64(b[:]); got != c.ticks || (err != nil) != (c.ticks == 0) {
			t.Errorf("%s: %d ticks, %v", name, got, err)
		}
	}
}

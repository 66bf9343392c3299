package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// timerfdKind makes timers that stand still; armTimerfds starts them when all
// else is done, so that the time a restore takes is not theirs.
func timerfdKind() fileKind {
	return fileKind{
		record: &specs.Timerfd{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			t := rec.(*specs.Timerfd)
			fd, err := unix.TimerfdCreate(int(t.Clock), unix.TFD_CLOEXEC)
			if errors.Is(err, unix.EPERM) {
				return nil, fmt.Errorf("make a timer that wakes the machine: %w; this needs CAP_WAKE_ALARM", err)
			}
			if err != nil {
				return nil, err
			}
			f, err := based(os.NewFile(uintptr(fd), "timerfd"), &t.Description)
			if err == nil {
				r.files.timers = append(r.files.timers, armed{f, t, id})
			}
			return f, err
		},
	}
}

// armed is a timer that is to be started.
type armed struct {
	f   *os.File
	rec *specs.Timerfd
	id  specs.ID
}

// armTimerfds starts the timers.
func (r *restorer) armTimerfds() error {
	if len(r.files.timers) == 0 {
		return nil
	}
	for _, t := range r.files.timers {
		var now unix.Timespec
		if err := unix.ClockGettime(t.rec.Clock, &now); err != nil {
			return &Error{"read clock", describe(t.id, t.rec), err}
		}
		if err := arm(int(t.f.Fd()), due(t.rec, now.Nano(), r.clocks)); err != nil {
			return &Error{"arm timer", describe(t.id, t.rec), err}
		}
	}
	return nil
}

// setting is what a timer is set to.
type setting struct {
	flags           uint32
	value, interval int64
	ticks           uint64
}

// due says how a timer goes on at the time now of its clock, which is ours. One that was set to a date keeps it: it may have passed. The
// clocks that count from the boot have no meaning if the container has lost its own:
// what was left is left then.
func due(t *specs.Timerfd, now int64, c clocks) setting {
	s := setting{flags: t.SetFlags, value: t.Left, interval: t.Interval, ticks: t.Ticks}
	if t.Left == 0 || t.SetFlags&unix.TFD_TIMER_ABSTIME == 0 {
		return s
	}
	s.value = c.date(t.Clock, t.Date, now+t.Left)
	if late := now - s.value; late >= 0 && t.Interval > 0 {
		// The kernel would count these too, but what it counts between our two
		// calls would be overwritten.
		missed := late/t.Interval + 1
		s.ticks += uint64(missed)
		s.value += missed * t.Interval
	}
	return s
}

// setTicks is TFD_IOC_SET_TICKS (include/uapi/linux/timerfd.h), which is there
// with CONFIG_CHECKPOINT_RESTORE.
const setTicks = 0x40085400

// arm sets a timer, and the ticks that nobody has read.
func arm(fd int, s setting) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(s.value), Interval: unix.NsecToTimespec(s.interval)}
	if err := unix.TimerfdSettime(fd, int(s.flags), &spec, nil); err != nil {
		return err
	}
	if s.ticks == 0 {
		return nil
	}
	err := ioctlWord(fd, setTicks, s.ticks)
	if !errors.Is(err, unix.ENOTTY) {
		return err
	}
	return expire(fd, s)
}

// expire has a timer tick by letting it expire, on kernels that cannot be told
// the number: one of one shot has ticked once at most, a periodic one is started
// as many periods ago.
func expire(fd int, s setting) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(1), Interval: unix.NsecToTimespec(s.interval)}
	if s.interval > 0 {
		var left unix.ItimerSpec
		if err := unix.TimerfdGettime(fd, &left); err != nil {
			return err
		}
		// Relative times cannot be in the past: the first tick is now, and the
		// others are lost, unless it has a date.
		if s.flags&unix.TFD_TIMER_ABSTIME != 0 {
			spec.Value = unix.NsecToTimespec(max(s.value-int64(s.ticks)*s.interval, 1))
		}
	}
	return unix.TimerfdSettime(fd, int(s.flags), &spec, nil)
}

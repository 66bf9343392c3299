package checkpoint

import (
	"errors"
	"time"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func timerfdKind() fileKind {
	return fileKind{
		name:   "timerfd",
		is:     anonymous("[timerfd]"),
		refuse: refuseNews,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			t, err := timerfd(int(own.Fd()))
			if err != nil {
				return nil, err
			}
			if cancelled(t) {
				return nil, f.unsupported("the clock was set, and the program has not read that yet (ECANCELED)", "try again in a moment")
			}
			t.Description = base
			return t, nil
		},
	}
}

// timerfd reads a timer through a descriptor of ours. It runs on meanwhile: what is left of
// it and what it has counted belong together only if it did not expire between.
func timerfd(fd int) (*specs.Timerfd, error) {
	var value unix.ItimerSpec
	before, err := timerfdInfo(fd)
	if err != nil {
		return nil, err
	}
	var info *procfs.Timerfd
	for try := 0; ; try++ {
		// A periodic timer that has expired stands still until somebody looks
		// (fs/timerfd.c, do_timerfd_gettime): only then does the kernel count
		// what has passed since, and run it again. Programs see no difference.
		if err := unix.TimerfdGettime(fd, &value); err != nil {
			return nil, err
		}
		if info, err = timerfdInfo(fd); err != nil {
			return nil, err
		}
		// Between two periods nothing may be left for a moment.
		running := value.Value.Nano() > 0 || value.Interval.Nano() == 0
		if running && info.Ticks == before.Ticks || try == 8 {
			break
		}
		if before = info; !running {
			time.Sleep(100 * time.Microsecond)
		}
	}
	t := &specs.Timerfd{
		Clock: int32(info.ClockID), Ticks: info.Ticks, SetFlags: uint32(info.SettimeFlags),
		Left: value.Value.Nano(), Interval: value.Interval.Nano(),
	}
	if t.Left > 0 && t.SetFlags&unix.TFD_TIMER_ABSTIME != 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(t.Clock, &now); err != nil {
			return nil, err
		}
		t.Date = now.Nano() + t.Left
	}
	return t, nil
}

func timerfdInfo(fd int) (*procfs.Timerfd, error) {
	info, err := procfs.ReadFDInfo(unix.Getpid(), fd)
	if err != nil {
		return nil, err
	}
	if info.Timerfd == nil {
		return nil, errors.New("its fdinfo does not tell of a timer")
	}
	return info.Timerfd, nil
}

// cancelled tells whether the next read will fail since the clock was set: the
// kernel counts that as a tick, which a timer of one shot that still runs cannot
// have otherwise.
func cancelled(t *specs.Timerfd) bool {
	return t.SetFlags&unix.TFD_TIMER_CANCEL_ON_SET != 0 && t.Interval == 0 && t.Left > 0 && t.Ticks > 0
}

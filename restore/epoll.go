package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// epollKind makes epoll instances. They are filled late and by a task: a watch is
// of a file under a number, and the numbers are those of the tasks' tables;
// watches of a signalfd(2) are of the signals of the task that registers them.
func epollKind() fileKind {
	return fileKind{
		record: &specs.Epoll{},
		open: func(_ *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			e := rec.(*specs.Epoll)
			fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				return nil, err
			}
			f, err := based(os.NewFile(uintptr(fd), "epoll"), &e.Description)
			if err != nil {
				return nil, err
			}
			return f, setBusyPoll(fd, e)
		},
		late: func(r *restorer, t *task, fd int32, rec specs.File) error {
			return r.watch(t, fd, rec.(*specs.Epoll))
		},
	}
}

// setParams is EPIOCSPARAMS (ioctl_eventpoll(2)).
const setParams = 0x40088a01

func setBusyPoll(fd int, e *specs.Epoll) error {
	value := uint64(e.BusyPollUsecs) | uint64(e.BusyPollBudget)<<32
	if e.PreferBusyPoll {
		value |= 1 << 48
	}
	if value == 0 {
		return nil
	}
	if err := ioctlWord(fd, setParams, value); err != nil {
		return fmt.Errorf("set busy polling of epoll: %w", err)
	}
	return nil
}

// private are the flags of a watch that say how it reports, not what
// (EP_PRIVATE_BITS, fs/eventpoll.c). anything is every event that there is.
const (
	private  = unix.EPOLLWAKEUP | unix.EPOLLONESHOT | unix.EPOLLET&0xffffffff | unix.EPOLLEXCLUSIVE
	anything = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDNORM |
		unix.EPOLLRDBAND | unix.EPOLLWRNORM | unix.EPOLLWRBAND | unix.EPOLLMSG | unix.EPOLLRDHUP
)

// fired tells whether a watch with EPOLLONESHOT has reported, and is out of work
// until the program arms it again.
func fired(w *specs.Watch) bool {
	return w.Events&unix.EPOLLONESHOT != 0 && w.Events&^uint32(private) == 0
}

// watch registers everything that an epoll instance watches. First those that
// have fired: they are registered for anything, and taken out by a wait, which
// would take reports away from the others.
func (r *restorer) watch(t *task, fd int32, e *specs.Epoll) error {
	var spent, armed []specs.Watch
	for _, w := range e.Watches {
		if fired(&w) {
			w.Events |= anything
			spent = append(spent, w)
		} else {
			armed = append(armed, w)
		}
	}
	if len(spent) > 0 {
		if err := r.spend(t, fd, spent); err != nil {
			return err
		}
	}
	return r.register(t, fd, armed)
}

// spend registers watches and has them fire, so that they do not again. Files
// that are not ready for anything are made so for a moment.
func (r *restorer) spend(t *task, fd int32, watches []specs.Watch) error {
	var undo []func() error
	for _, w := range watches {
		f := r.files.open[w.File]
		if f == nil {
			continue
		}
		back, err := r.makeReady(w.File, f)
		if err != nil {
			return fmt.Errorf("make file %d ready: %w", w.File, err)
		}
		if back != nil {
			undo = append(undo, back)
		}
	}
	if err := r.register(t, fd, watches); err != nil {
		return err
	}
	_, at := t.arena.Data()
	reported := 0
	for {
		const most = 512
		n, err := r.call(t, unix.SYS_EPOLL_PWAIT, uint64(fd), at, most, 0, 0, 8)
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if n == 0 {
			break
		}
		reported += int(n)
	}
	if reported < len(watches) {
		// Harmless for most: the program may be told of an error or a hangup that
		// it would have learnt of when it asked again.
		r.log.WithField("watches", len(watches)-reported).Warn("watches with EPOLLONESHOT that had reported will report errors and hangups once more")
	}
	for _, back := range undo {
		if err := back(); err != nil {
			return err
		}
	}
	return nil
}

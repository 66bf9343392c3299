package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/agent"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// pidfdKind opens pidfds when the tasks exist, by their numbers in the container.
func pidfdKind() fileKind {
	return fileKind{
		record: &specs.Pidfd{},
		inTask: true,
		make: func(r *restorer, t *task, fd int32, rec specs.File) error {
			p := rec.(*specs.Pidfd)
			// PIDFD_THREAD is O_EXCL, PIDFD_NONBLOCK O_NONBLOCK (pidfd_open(2)).
			flags := p.Flags & (unix.O_EXCL | unix.O_NONBLOCK)
			if p.PID == 0 {
				return r.makeDeadPidfd(t, fd, int(flags))
			}
			n, err := r.call(t, unix.SYS_PIDFD_OPEN, uint64(p.PID), uint64(flags))
			if err != nil {
				return fmt.Errorf("pidfd of task %d: %w", p.PID, err)
			}
			return r.moveFD(t, int32(n), fd)
		},
	}
}

// makeDeadPidfd opens a pidfd of a process that is gone: of a child of ours in the
// container's pid namespace that is killed before it has done anything.
func (r *restorer) makeDeadPidfd(t *task, fd int32, flags int) error {
	var own int
	dead := func() error {
		child, err := agent.Spawn(agent.Placeholder{Exe: "/"})
		if err != nil {
			return err
		}
		own, err = unix.PidfdOpen(child.PID, flags)
		return errors.Join(err, child.Close())
	}
	var err error
	if r.space == nil {
		err = dead()
	} else {
		err = ns.Enter(r.root.pid, ns.PID, dead)
	}
	if err != nil {
		return fmt.Errorf("pidfd of a dead process: %w", err)
	}
	f := os.NewFile(uintptr(own), "pidfd")
	defer f.Close()
	numbers, err := r.send(t, []*os.File{f})
	if err != nil {
		return err
	}
	return r.moveFD(t, int32(numbers[0]), fd)
}

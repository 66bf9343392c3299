package restore

import (
	"errors"
	"fmt"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// pidfdThread is PIDFD_THREAD of pidfd_open(2), since Linux 6.9.
const pidfdThread = unix.O_EXCL

// pidfd opens a pidfd of a thread of the task that lives.
func (t *task) pidfd() (int, error) {
	if t.at == t.pid {
		return unix.PidfdOpen(t.pid, 0)
	}
	return unix.PidfdOpen(t.at, pidfdThread)
}

// endLeaders has the leaders end that had ended while other threads lived on. It comes
// when the other threads exist and nothing else is made: all that follows is done by the
// first of those. So children get no death signal for it (PR_SET_PDEATHSIG), which
// they are given later, and no signal is pending that the leader could take.
func (r *restorer) endLeaders() error {
	for _, t := range r.made {
		if t.ghost || len(t.threads) < 2 || !t.threads[0].rec.Ended {
			continue
		}
		if err := r.endLeader(t); err != nil {
			return taskError("end leader of", t, err)
		}
	}
	return nil
}

// endLeader gives the leader what is still seen of one that has ended, lets it go and
// end. It is no more traced then: the kernel tells a tracer of a leader's end only
// when all other threads have ended too (ptrace(2)).
func (r *restorer) endLeader(t *task) error {
	th := t.threads[0]
	b, _, err := r.threadCalls(th, wholeArena(t))
	if err != nil {
		return err
	}
	if err := b.run(t, th); err != nil {
		return err
	}
	if err := r.drain(t); err != nil {
		return err
	}
	if err := t.arena.Rest(); err != nil {
		return err
	}
	gate, err := t.gate()
	if err != nil {
		return err
	}
	exit := inject.Call{Nr: unix.SYS_EXIT, Args: [6]uint64{uint64(th.rec.ExitCode >> 8)}}
	if err := inject.Issue(th.traced, gate, &exit); err != nil {
		return err
	}
	if err := th.traced.SetSigMask(th.rec.Blocked); err != nil {
		return err
	}
	if err := th.traced.SetOptions(0); err != nil {
		return err
	}
	if err := th.traced.Detach(); err != nil {
		return err
	}
	t.threads = t.threads[1:]
	t.at = t.threads[0].traced.TID
	return t.awaitLeader()
}

// awaitLeader waits until the leader has ended.
func (t *task) awaitLeader() error {
	for deadline := time.Now().Add(ptrace.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
		s, err := procfs.ReadTaskStat(t.pid, t.pid)
		if err != nil {
			return err
		}
		if s.State == 'Z' {
			return nil
		}
	}
	return fmt.Errorf("it does not end: %w", ptrace.ErrTimeout)
}

// errAlone means that an image has a leader that has ended and no other thread.
var errAlone = errors.New("its only thread has ended")

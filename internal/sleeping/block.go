package sleeping

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/kmem"
)

// Kernel reads what the kernel keeps of an interrupted sleep (kmem.Reader).
type Kernel interface {
	RestartEnd(tid int, kind kmem.RestartKind) (clock int32, end int64, err error)
}

// blockKinds are the calls that keep their end in the restart_block when they are interrupted.
var blockKinds = map[int]kmem.RestartKind{
	pollNumber:               kmem.RestartPoll,
	unix.SYS_FUTEX:           kmem.RestartFutex,
	unix.SYS_NANOSLEEP:       kmem.RestartSleep,
	unix.SYS_CLOCK_NANOSLEEP: kmem.RestartSleep,
}

// blocked tells whether the restart_block will have the end of a call, so that nothing needs to be found out before
// the stop.
func (w *Watch) blocked(nr int, sh shape) bool {
	kind, ok := blockKinds[nr]
	return ok && w.Kernel != nil && sh.restart == ERESTART_RESTARTBLOCK && !sh.absolute && wall(sh.clock) &&
		(kind != kmem.RestartFutex || sh.clock == unix.CLOCK_MONOTONIC)
}

// block makes a sleep exact whose end stands in the thread's restart_block.
func (w *Watch) block(t thread, s *Sleep, sh shape, call Call, stopped int64) error {
	if s.Precision == Exact || syscall.Errno(-call.Ret) != ERESTART_RESTARTBLOCK || !w.blocked(s.Syscall, sh) {
		return nil
	}
	clock, end, err := w.Kernel.RestartEnd(t.tid, blockKinds[s.Syscall])
	if err != nil || !wall(clock) {
		return err
	}
	mono, err := now(unix.CLOCK_MONOTONIC)
	if err != nil {
		return err
	}
	theirs, err := now(clock)
	if err != nil {
		return err
	}
	s.Deadline, s.Precision = mono+end-theirs, Exact
	s.Left = s.LeftAt(stopped)
	return nil
}

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

// block makes a sleep exact whose end stands in the thread's restart_block. What cannot be read leaves it
// as it is.
func (w *Watch) block(t thread, s *Sleep, call Call, stopped int64) error {
	kind, ok := blockKinds[s.Syscall]
	if !ok || w.Kernel == nil || s.Precision == Exact || syscall.Errno(-call.Ret) != ERESTART_RESTARTBLOCK {
		return nil
	}
	clock, end, err := w.Kernel.RestartEnd(t.tid, kind)
	if err != nil || !wall(clock) || kind == kmem.RestartFutex && s.Clock != unix.CLOCK_MONOTONIC {
		return nil
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

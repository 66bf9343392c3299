package checkpoint

import (
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"golang.org/x/sys/unix"
)

// remainderArgs are the calls that write into their caller's memory what was
// left of the time when they are interrupted, and which argument says where. A
// stop is such an interruption, of which the program must see nothing: what stood there is
// kept and put back.
var remainderArgs = map[int]int{unix.SYS_NANOSLEEP: 1, unix.SYS_CLOCK_NANOSLEEP: 3}

// remainderSize is sizeof(struct timespec).
const remainderSize = 16

// keepRemainder reads what stands at the place where a sleeping call would
// write the rest; nil if there is none.
func keepRemainder(tid int, s *sleeping.Sleep) []byte {
	arg, ok := remainderArgs[s.Syscall]
	if !ok || s.Args[arg] == 0 {
		return nil
	}
	b := make([]byte, remainderSize)
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: uintptr(s.Args[arg]), Len: len(b)}}
	if n, err := unix.ProcessVMReadv(tid, local, remote, 0); err != nil || n != len(b) {
		return nil
	}
	return b
}

// putRemainder writes it back if the thread was stopped in the same call.
func (th *thread) putRemainder(p *process, home *ptrace.Registers) error {
	if th.sleep == nil || th.remainder == nil || !inject.Interrupted(home) {
		return nil
	}
	if call := sleeping.CallOf(home); call.Args != th.sleep.Args {
		return nil
	}
	at := th.sleep.Args[remainderArgs[th.sleep.Syscall]]
	_, err := p.mem.WriteAt(th.remainder, int64(at))
	return err
}

// kernelEnds has the ends of sleeps read from the kernel's memory, where it lets us do so with all kinds of them.
func (d *dump) kernelEnds() {
	k, err := d.kernelMemory()
	for _, kind := range []kmem.RestartKind{kmem.RestartPoll, kmem.RestartFutex, kmem.RestartSleep} {
		if err == nil {
			_, _, err = k.RestartEnd(unix.Gettid(), kind)
		}
	}
	if err != nil {
		d.log.WithError(err).Debug("the ends of sleeps are computed")
		return
	}
	d.frozen.watch.Kernel = k
}

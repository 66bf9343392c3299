package sleeping

import (
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Change says how a thread that was interrupted in a timed call issues it
// again: the number, the arguments, and bytes to write to its memory before.
type Change struct {
	NR   int
	Args [6]uint64
	// Scratch is written at ScratchAddr, if it is not empty.
	Scratch     []byte
	ScratchAddr uint64
}

// Resume returns what makes a thread, interrupted in call, wait for left
// nanoseconds more (-1: without a limit). nr and left are [Sleep.Syscall] and
// what [Watch.Stopped] gave as Left. It depends on nothing but its arguments.
//
//   - A timeout in a register (poll, epoll_wait) is set to left, rounded up to
//     milliseconds.
//   - Where the kernel has written the rest over the timeout (select, ppoll,
//     pselect6) the call is issued as it was.
//   - nanosleep that has written the rest to its second argument gets that as
//     the first one too.
//   - An absolute timeout is left alone, and so is that of recvmmsg, which the
//     kernel does not shorten either when it restarts the call.
//   - Otherwise the timeout lies in memory that the program may use for other
//     things, share between threads, or map read-only, so it must stay as it
//     is. A mapping of our own would show in /proc/PID/maps and had to be
//     removed by somebody; bytes in the vdso would stay there. The rest is
//     written to the stack instead, below the red zone: there the ABI lets any
//     signal handler write at any time, so nobody can have data there. The
//     kernel copies it when the call is entered, and does not look again.
//
// The scratch bytes must survive until the call is entered. Release the thread
// with PTRACE_SYSCALL and detach at the entry. If a signal stop comes before it,
// a handler's frame is about to cover them; the call was then interrupted by a
// signal, and must end with EINTR instead of being issued again.
func Resume(call Call, nr int, left int64) (Change, error) {
	c := Change{NR: nr, Args: call.Args}
	sh, ok := lookUp(nr, call.Args)
	if !ok {
		return Change{}, fmt.Errorf("issue system call %d again: %w", nr, ErrUntimed)
	}
	if left < -1 {
		return Change{}, fmt.Errorf("issue %s again for %d ns: %w", sh.name, left, unix.EINVAL)
	}
	if left < 0 || sh.absolute || sh.again {
		return c, nil
	}
	addr, written := sh.written(call)
	switch {
	case sh.form == millis:
		c.Args[sh.arg] = uint64(min(add(left, 999_999)/1_000_000, math.MaxInt32))
	case written:
		c.Args[sh.arg] = addr
	default:
		c.scratch(call.SP, sh, left)
	}
	return c, nil
}

// scratch lays the timeout below the red zone and points the argument there.
func (c *Change) scratch(sp uint64, sh shape, left int64) {
	part := left % 1e9
	if sh.form == timeval {
		part = (part + 999) / 1000 // 1000000 is allowed: the kernel carries it
	}
	c.Scratch = binary.NativeEndian.AppendUint64(nil, uint64(left/1e9))
	c.Scratch = binary.NativeEndian.AppendUint64(c.Scratch, uint64(part))
	c.ScratchAddr = (sp - redZone - uint64(len(c.Scratch))) &^ 15
	c.Args[sh.arg] = c.ScratchAddr
}

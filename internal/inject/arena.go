package inject

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// Arena is the workplace of a restore inside the tasks that it builds: the same
// code and control block as those of a Session, shared by a task and all that
// are forked from it. One thread at a time runs in it. It is not
// guarded against our death: tasks that are half built die with us
// (PTRACE_O_EXITKILL).
type Arena struct {
	mem  []byte
	base uint64
	// inside is the thread that waits in the blob for the next batch: to stop it and
	// send it in again would cost as much as ten small batches.
	inside *ptrace.Thread
}

// ArenaSize is the size of an Arena in bytes.
const ArenaSize = 1 << 20

// errNoInstruction means that a vdso has no system call instruction, which
// every one has for its fallbacks.
var errNoInstruction = errors.New("no system call instruction in the vdso")

// Gate finds a system call instruction in the vdso of a process.
func Gate(mem *os.File, vdso Range) (uint64, error) {
	code := make([]byte, vdso.End-vdso.Start)
	if _, err := mem.ReadAt(code, int64(vdso.Start)); err != nil {
		return 0, fmt.Errorf("read vdso: %w", err)
	}
	i := bytes.Index(code, syscallInstruction)
	if i < 0 {
		return 0, errNoInstruction
	}
	return vdso.Start + uint64(i), nil
}

// Issue has a stopped thread make one system call through the instruction at gate
// when it is resumed, one that does not return.
func Issue(t *ptrace.Thread, gate uint64, call *Call) error {
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	issue(&regs, gate, call)
	return t.SetRegisters(&regs)
}

// Single makes one system call in a stopped thread through the instruction at
// gate. The thread is left in the stop at the call's exit.
func Single(t *ptrace.Thread, gate uint64, call *Call) error {
	if err := Issue(t, gate, call); err != nil {
		return err
	}
	for range 2 {
		if err := t.AwaitSyscall(); err != nil {
			return err
		}
	}
	regs, err := t.Registers()
	call.Ret = resultOf(&regs)
	return err
}

// NewArena maps an arena at address base of a stopped thread, through the
// system call instruction at gate.
func NewArena(t *ptrace.Thread, gate, base uint64) (*Arena, error) {
	if err := machineError(); err != nil {
		return nil, err
	}
	call := Call{Nr: unix.SYS_MMAP, Args: [6]uint64{base, ArenaSize, unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC,
		unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0}}
	if err := Single(t, gate, &call); err != nil {
		return nil, err
	}
	if uint64(call.Ret) != base {
		return nil, &Error{"mmap", t.TID, unix.Errno(-call.Ret)}
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/map_files/%x-%x", t.TID, base, base+ArenaSize), os.O_RDWR, 0)
	if err != nil {
		return nil, &Error{"open arena of", t.TID, err}
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, ArenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, &Error{"map arena of", t.TID, err}
	}
	a := &Arena{mem: mem, base: base}
	copy(a.mem, blobCode())
	a.arrange(a.slot(), base+slotOff)
	return a, nil
}

// Close gives up our mapping; the tasks have theirs until they unmap it.
func (a *Arena) Close() error { return unix.Munmap(a.mem) }

func (a *Arena) slot() *slot { return (*slot)(unsafe.Pointer(&a.mem[slotOff])) }

// Range is where the tasks have the arena.
func (a *Arena) Range() Range { return Range{a.base, a.base + ArenaSize} }

// Data is the room for arguments and results, and its address in the tasks.
func (a *Arena) Data() ([]byte, uint64) {
	return a.mem[dataOff : ArenaSize-stackSize], a.base + dataOff
}

// Run has a stopped thread make the calls, in order and all of them, and fills
// in their results. The thread is lent afterwards (ptrace.Thread.Lend): it comes to a
// Trap stop when it is asked for anything, or another runs in the arena.
// onEvent (may be nil) is told of forks and clones on the way.
func (a *Arena) Run(t *ptrace.Thread, calls []Call, onEvent func(ptrace.Stop) error) error {
	for len(calls) > 0 {
		n := min(len(calls), MaxCalls)
		if err := a.batch(t, calls[:n], onEvent); err != nil {
			return err
		}
		calls = calls[n:]
	}
	return nil
}

// NotRun is the result of a call that was not made.
const NotRun = math.MinInt64

// RunToError is Run that stops at the first call that fails: the results of those
// behind it are NotRun.
func (a *Arena) RunToError(t *ptrace.Thread, calls []Call) error {
	for i := range calls {
		calls[i].Ret = NotRun
	}
	k := a.slot()
	k.stop = 1
	defer func() { k.stop = 0 }()
	for len(calls) > 0 {
		n := min(len(calls), MaxCalls)
		if err := a.batch(t, calls[:n], nil); err != nil {
			return err
		}
		if last := calls[n-1]; last.Ret == NotRun || last.Failed() {
			return nil
		}
		calls = calls[n:]
	}
	return nil
}

func (a *Arena) batch(t *ptrace.Thread, calls []Call, onEvent func(ptrace.Stop) error) error {
	if a.inside != t {
		if err := a.Rest(); err != nil {
			return err
		}
	}
	k := a.slot()
	room := unsafe.Slice((*Call)(unsafe.Pointer(&a.mem[slotOff+callsOff])), MaxCalls)
	copy(room, calls)
	k.count = uint64(len(calls))
	before := k.command
	command := atomic.AddUint32(&k.command, 1)
	if a.inside == t {
		t.Lend(nil)
		a.inside = nil
		futexWake(&k.command)
	} else if err := a.enter(t, a.base+slotOff, before); err != nil {
		return err
	}
	if err := a.awaitSlot(k, t, command, onEvent); err != nil {
		return err
	}
	copy(calls, room)
	a.inside = t
	t.Lend(a.Rest)
	return nil
}

// enter sends a stopped thread into the blob with the slot at an address, the command before
// having been run.
func (a *Arena) enter(t *ptrace.Thread, at uint64, before uint32) error {
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	enterBlob(&regs, a.base, at, uint64(before))
	onStack(&regs, a.base+ArenaSize)
	if err := t.SetRegisters(&regs); err != nil {
		return err
	}
	if err := t.SetSigMask(everything); err != nil {
		return err
	}
	return t.Cont(0)
}

// Rest brings the thread that is lent, if one is, to a Trap stop.
func (a *Arena) Rest() error {
	t := a.inside
	if t == nil {
		return nil
	}
	a.inside = nil
	if _, err := t.Halt(); err != nil && !errors.Is(err, ptrace.ErrGone) {
		return err
	}
	return nil
}

// spin is how long a batch is waited for awake: most take a few microseconds, and
// being woken takes tens.
const spin = 20 * time.Microsecond

// awaitSlot waits until the batch of a slot is done, looking at the thread too: it may stop
// for an event, or end.
func (a *Arena) awaitSlot(k *slot, t *ptrace.Thread, command uint32, onEvent func(ptrace.Stop) error) error {
	start := time.Now()
	for onEvent == nil && time.Since(start) < spin {
		if atomic.LoadUint32(&k.done) == command {
			return nil
		}
	}
	deadline := start.Add(5 * time.Minute) // reading memory of any size
	for n := 0; ; n++ {
		done := atomic.LoadUint32(&k.done)
		if done == command {
			return nil
		}
		if onEvent == nil {
			futexWait(&k.done, done, time.Millisecond)
		} else {
			t.Pause(n) // a stop for an event wakes nobody who waits for the slot
		}
		stop, stopped, err := t.Poll()
		if err != nil {
			return err
		}
		if !stopped {
			if time.Now().After(deadline) {
				return &Error{"run a batch", t.TID, ptrace.ErrTimeout}
			}
			continue
		}
		signal := 0
		switch {
		case stop.Kind >= ptrace.Exited:
			return &Error{"run a batch", t.TID, fmt.Errorf("%v (%d): %w", stop.Kind, stop.Signal, ptrace.ErrGone)}
		case stop.Kind == ptrace.Signal && stop.Signal != int(unix.SIGSTOP):
			return &Error{"run a batch", t.TID, fmt.Errorf("unexpected signal %d", stop.Signal)}
		case stop.Kind == ptrace.Signal:
			signal = stop.Signal
		case stop.Kind == ptrace.Event && onEvent != nil:
			if err := onEvent(stop); err != nil {
				return err
			}
		}
		if err := t.Cont(signal); err != nil {
			return err
		}
	}
}

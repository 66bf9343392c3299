package inject

import (
	"sync/atomic"
	"unsafe"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// A lane is a slot of its own, with calls and data, for one of many threads that run
// their batches at the same time: each has to wait for a processor only once, and none
// waits for the others. Lanes lie in the data of the arena.
const (
	laneSize  = 16 << 10
	laneCalls = 128
	laneData  = callsOff + laneCalls*callSize
	lanes     = (ArenaSize - stackSize - dataOff) / laneSize
)

// Lane is the room of one Job.
type Lane struct {
	// Data is for arguments and results, At its address in the tasks.
	Data []byte
	At   uint64
}

// Job is what one thread does in its lane.
type Job struct {
	Thread *ptrace.Thread
	Calls  []Call
}

// Lanes is how many jobs can be run at a time, LaneCalls how many calls each may have.
func (a *Arena) Lanes() int     { return lanes }
func (a *Arena) LaneCalls() int { return laneCalls }

// Lane is the room of the job with this index. It is part of what Data gives.
func (a *Arena) Lane(i int) Lane {
	at := dataOff + i*laneSize
	return Lane{a.mem[at+laneData : at+laneSize], a.base + uint64(at) + laneData}
}

func (a *Arena) laneSlot(i int) (*slot, uint64) {
	at := dataOff + i*laneSize
	return (*slot)(unsafe.Pointer(&a.mem[at])), a.base + uint64(at)
}

// Each has stopped threads make their calls, all at the same time, and fills in the
// results. Afterwards they stand in Trap stops. They share their memory, and none of them waits in
// the arena already.
func (a *Arena) Each(jobs []Job) error {
	for i := range jobs {
		if err := a.send(i, &jobs[i]); err != nil {
			return err
		}
	}
	for i := range jobs {
		k, _ := a.laneSlot(i)
		if err := a.awaitSlot(k, jobs[i].Thread, 1, nil); err != nil {
			return err
		}
		copy(jobs[i].Calls, a.laneRoom(i))
		if err := jobs[i].Thread.Interrupt(); err != nil {
			return err
		}
	}
	for i := range jobs {
		if _, err := jobs[i].Thread.AwaitTrap(ptrace.Patience, nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *Arena) laneRoom(i int) []Call {
	at := dataOff + i*laneSize + callsOff
	return unsafe.Slice((*Call)(unsafe.Pointer(&a.mem[at])), laneCalls)
}

// send lets a thread run its batch.
func (a *Arena) send(i int, job *Job) error {
	if len(job.Calls) > laneCalls {
		return &Error{"run a batch", job.Thread.TID, unix.E2BIG}
	}
	k, at := a.laneSlot(i)
	clear(a.mem[dataOff+i*laneSize:][:callsOff])
	a.arrange(k, at)
	copy(a.laneRoom(i), job.Calls)
	k.count = uint64(len(job.Calls))
	atomic.StoreUint32(&k.command, 1)
	return a.enter(job.Thread, at, 0)
}

// arrange has a slot at an address of the tasks be one that nobody owns.
func (a *Arena) arrange(k *slot, at uint64) {
	k.owner, k.ownerw = at+ownerOff, 1
	k.waitv = [2]waitv{{uaddr: at, flags: futexSize32}, {uaddr: at + ownerOff, flags: futexSize32, val: 1}}
}

package restore

import (
	"encoding/binary"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func word32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// restoreThreads gives every thread of a task its own state. The leader comes
// last: as long as it is privileged it can be asked.
func (r *restorer) restoreThreads(t *task) error {
	others := t.threads[1:]
	for len(others) > 0 {
		n := min(len(others), t.arena.Lanes())
		if err := r.restoreTogether(t, others[:n]); err != nil {
			return err
		}
		others = others[n:]
	}
	leader := t.threads[0]
	b, _, err := r.threadCalls(leader, wholeArena(t))
	if err != nil {
		return err
	}
	if err := b.run(t, leader); err != nil {
		return err
	}
	return r.completeThread(t, leader)
}

// restoreTogether gives threads their states all at the same time. One whose calls do
// not fit into a lane comes after the others.
func (r *restorer) restoreTogether(t *task, threads []*thread) error {
	var jobs []inject.Job
	var batches []batch
	var alone []*thread
	for _, th := range threads {
		b, fits, err := r.threadCalls(th, t.arena.Lane(len(jobs)))
		if err != nil {
			return err
		}
		if !fits || len(b.calls) > t.arena.LaneCalls() {
			alone = append(alone, th)
			continue
		}
		batches = append(batches, b)
		jobs = append(jobs, inject.Job{Thread: th.traced, Calls: b.calls})
	}
	if err := t.arena.Each(jobs); err != nil {
		return err
	}
	for i := range batches {
		if err := batches[i].failure(); err != nil {
			return err
		}
	}
	for _, th := range alone {
		b, _, err := r.threadCalls(th, wholeArena(t))
		if err != nil {
			return err
		}
		if err := b.run(t, th); err != nil {
			return err
		}
	}
	for _, th := range threads {
		if err := r.completeThread(t, th); err != nil {
			return err
		}
	}
	return nil
}

// wholeArena is the room of a thread that runs by itself.
func wholeArena(t *task) inject.Lane {
	data, at := t.arena.Data()
	return inject.Lane{Data: data, At: at}
}

// threadCalls sets policy and affinity, and prepares the calls by which a thread takes on its
// state. fits is false if there is not room enough for what they need.
func (r *restorer) threadCalls(th *thread, room inject.Lane) (b batch, fits bool, err error) {
	if err := r.sched(th); err != nil {
		return b, false, err
	}
	if room.Data == nil || len(room.Data) < credsOff+credsSize(&th.rec.Creds) {
		return b, false, nil
	}
	b = threadState(th.rec, room)
	creds, err := r.creds(th, room)
	b.calls, b.what = append(b.calls, creds.calls...), append(b.what, creds.what...)
	return b, true, err
}

// completeThread does what comes after a change of credentials.
func (r *restorer) completeThread(t *task, th *thread) error {
	if err := r.seccomp(t, th); err != nil {
		return err
	}
	return r.queue(t, th, th.rec.Pending, false)
}

// threadState sets the addresses that the kernel keeps for a thread, and its
// name.
func threadState(rec *specs.Thread, room inject.Lane) batch {
	data, at := room.Data, room.At
	var b batch
	const stackOff, nameOff, nodesOff = 0, 64, 128
	putWord(data[stackOff:], rec.AltStackBase)
	putWord32(data[stackOff+8:], uint32(rec.AltStackFlags)&^ssOnStack)
	putWord(data[stackOff+16:], rec.AltStackSize)
	b.add("set alternate stack", unix.SYS_SIGALTSTACK, at+stackOff, 0)
	copy(data[nameOff:], rec.Comm+"\x00")
	b.add("set name", unix.SYS_PRCTL, unix.PR_SET_NAME, at+nameOff)
	b.add("set tid address", unix.SYS_SET_TID_ADDRESS, rec.ClearTID)
	if rec.RobustListLen != 0 {
		b.add("set robust list", unix.SYS_SET_ROBUST_LIST, rec.RobustList, rec.RobustListLen)
	}
	if rec.RSeq != 0 {
		b.add("register rseq", unix.SYS_RSEQ, rec.RSeq, uint64(rec.RSeqSize), 0, uint64(rec.RSeqSignature))
	}
	b.add("set timer slack", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, rec.TimerSlack)
	if rec.TSC == unix.PR_TSC_SIGSEGV {
		b.add("set tsc mode", unix.SYS_PRCTL, unix.PR_SET_TSC, uint64(rec.TSC))
	}
	b.threadAttributes(rec.Attributes, data[nodesOff:], at+nodesOff)
	return b
}

// ssOnStack is SS_ONSTACK: the thread was on the stack, which its stack pointer
// tells.
const ssOnStack = 1

// sched sets policy, priority, nice value, affinity and I/O priority from
// outside, by our rights.
func (r *restorer) sched(th *thread) error {
	s := &th.rec.Sched
	tid := th.traced.TID
	now, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return err
	}
	if now.Policy != s.Policy || now.Nice != s.Nice || now.Priority != s.Priority || now.Flags != s.Flags || s.Runtime != 0 && now.Runtime != s.Runtime {
		now.Policy, now.Nice, now.Priority, now.Flags = s.Policy, s.Nice, s.Priority, s.Flags
		now.Runtime, now.Deadline, now.Period = s.Runtime, s.Deadline, s.Period
		if err := unix.SchedSetAttr(tid, now, 0); err != nil {
			return err
		}
	}
	if err := setAffinity(tid, s.Affinity); err != nil {
		return err
	}
	if th.rec.IOPrio == 0 {
		return nil
	}
	const whoProcess = 1
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(tid), uintptr(th.rec.IOPrio)); errno != 0 {
		return errno
	}
	return nil
}

// setAffinity binds a thread to the processors of the mask that are there.
func setAffinity(tid int, mask []byte) error {
	var set, now unix.CPUSet
	for i, b := range mask {
		for bit := range 8 {
			if b&(1<<bit) != 0 {
				set.Set(i*8 + bit)
			}
		}
	}
	if err := unix.SchedGetaffinity(tid, &now); err != nil {
		return err
	}
	if now == set || set.Count() == 0 {
		return nil
	}
	err := unix.SchedSetaffinity(tid, &set)
	if err == unix.EINVAL {
		return nil // none of these processors is here: it runs where it may
	}
	return err
}

package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// What a process gives back to semaphores when it ends (semop(2), SEM_UNDO) is
// shown nowhere. It can be found out without a trace: semop(2) makes all of its
// operations or none, and an adjustment that would leave the range -32768..32767
// fails with ERANGE before a later operation of the same call can fail with
// EAGAIN. So the process itself is had to make calls that cannot succeed, each
// of which asks one question: is the adjustment at least (or at most) this? A failed
// call leaves values, pids and times as they are (ipc/sem.c, perform_atomic_semop_slow).

const (
	semMax = 32767 // SEMVMX and SEMAEM
	// kcmpSysVSem is KCMP_SYSVSEM of kcmp(2).
	kcmpSysVSem = 6
	semUndoFlag = 0x1000
	sembufSize  = 6
)

// semop is struct sembuf.
type semop struct {
	num       uint16
	op, flags int16
}

// atLeast asks whether the adjustment of semaphore num, whose value is v, is t or
// more, for t in 1..32767: ERANGE says yes, EAGAIN no.
func atLeast(num uint16, v, t int) []semop {
	m := semMax + 1 - t
	ops := add(nil, num, semMax-v)
	ops = append(ops, semop{num, int16(-m), semUndoFlag | ipcNoWait})
	return append(ops, blocks(num, semMax-m))
}

// atMost asks whether it is -t or less, for t in 1..32768.
func atMost(num uint16, v, t int) []semop {
	k := semMax + 2 - t
	ops := add(nil, num, -v)
	if k > semMax {
		ops = append(ops, semop{num, semMax, semUndoFlag | ipcNoWait})
		ops = add(ops, num, -semMax)
		k -= semMax
	}
	ops = append(ops, semop{num, int16(k), semUndoFlag | ipcNoWait})
	return append(ops, blocks(num, k))
}

func add(ops []semop, num uint16, by int) []semop {
	if by == 0 {
		return ops
	}
	return append(ops, semop{num, int16(by), ipcNoWait})
}

// blocks is an operation that cannot be made when the value is v.
func blocks(num uint16, v int) semop {
	if v > 0 {
		return semop{num, 0, ipcNoWait}
	}
	return semop{num, -1, ipcNoWait}
}

// prober asks one process about its adjustments.
type prober struct {
	session *inject.Session
	id      int32
	values  []uint16
}

// ask makes the calls and tells which were answered with yes.
func (q *prober) ask(questions [][]semop) ([]bool, error) {
	answers := make([]bool, 0, len(questions))
	for len(questions) > 0 {
		room, at := q.session.Data()
		var calls []inject.Call
		for len(questions) > 0 && len(calls) < inject.MaxCalls && len(room) > 8*sembufSize {
			ops := questions[0]
			for i, o := range ops {
				b := room[i*sembufSize:]
				binary.NativeEndian.PutUint16(b, o.num)
				binary.NativeEndian.PutUint16(b[2:], uint16(o.op))
				binary.NativeEndian.PutUint16(b[4:], uint16(o.flags))
			}
			calls = append(calls, inject.Call{Nr: unix.SYS_SEMOP, Args: [6]uint64{uint64(q.id), at, uint64(len(ops))}})
			used := len(ops) * sembufSize
			room, at, questions = room[used:], at+uint64(used), questions[1:]
		}
		if err := q.session.Run(calls); err != nil {
			return nil, err
		}
		for _, c := range calls {
			switch errno := unix.Errno(-c.Ret); errno {
			case unix.ERANGE, unix.EAGAIN:
				answers = append(answers, errno == unix.ERANGE)
			default:
				return nil, fmt.Errorf("find out what System V semaphores %d are given back: %w", q.id, errno)
			}
		}
	}
	return answers, nil
}

// find gives the adjustments that are not 0.
func (q *prober) find(pid int32) ([]specs.SemUndo, error) {
	var questions [][]semop
	for i, v := range q.values {
		questions = append(questions, atLeast(uint16(i), int(v), 1), atMost(uint16(i), int(v), 1))
	}
	signs, err := q.ask(questions)
	if err != nil {
		return nil, err
	}
	var undo []specs.SemUndo
	for i, v := range q.values {
		question, sign, limit := atLeast, int32(1), semMax
		if signs[2*i+1] {
			question, sign, limit = atMost, -1, semMax+1
		}
		if !signs[2*i] && !signs[2*i+1] {
			continue
		}
		amount, err := q.search(func(t int) []semop { return question(uint16(i), int(v), t) }, limit)
		if err != nil {
			return nil, err
		}
		undo = append(undo, specs.SemUndo{PID: pid, Semaphore: uint16(i), Adjust: sign * int32(amount)})
	}
	return undo, nil
}

// search finds the greatest number up to limit that is answered with yes; 1 is.
// Small ones are found first.
func (q *prober) search(question func(int) []semop, limit int) (int, error) {
	yes, no := 1, limit+1
	for no-yes > 1 {
		t := min(2*yes, (yes+no)/2)
		answer, err := q.ask([][]semop{question(t)})
		if err != nil {
			return 0, err
		}
		if answer[0] {
			yes = t
		} else {
			no = t
		}
	}
	return yes, nil
}

// askUndo finds what a process gives back to all sets. It is a part of the
// leader's description.
func (d *dump) askUndo(s *inject.Session, p *process) error {
	if err := d.findSysV(); err != nil || len(d.sysv.sem) == 0 || !d.hasUndo(p.at) {
		return err
	}
	for i := range d.sysv.sem {
		o := &d.sysv.sem[i]
		q := prober{session: s, id: o.ID}
		if err := d.inside(func() (err error) { q.values, err = semValues(o); return err }); err != nil {
			return err
		}
		undo, err := q.find(int32(p.nspid))
		if errors.Is(err, unix.EACCES) {
			// Most likely it never could: every first process of a container has
			// a list, for runtimes have threads.
			d.log.WithFields(logrus.Fields{"task": p.nspid, "semaphores": o.ID}).
				Warn("the task may not alter these semaphores: what it might give back to them from an earlier time is not saved")
			continue
		}
		if err != nil {
			return err
		}
		if d.sysv.undo == nil {
			d.sysv.undo = map[int32][]specs.SemUndo{}
		}
		d.sysv.undo[o.ID] = append(d.sysv.undo[o.ID], undo...)
	}
	return nil
}

// hasUndo tells whether a task has a list of adjustments, which may be empty: our
// thread in the namespace has none, for entering it has ended that.
func (d *dump) hasUndo(tid int) bool {
	return kcmp(d.inner.tid, tid, kcmpSysVSem, 0, 0) != 0
}

// checkUndo refuses lists that a restore could not make again: those of threads
// and processes that are shared in another way than a C library does it.
func (d *dump) checkUndo(p *process) error {
	if len(d.sysv.sem) == 0 {
		return nil
	}
	const remedy = "remove the semaphores, or end the task"
	tids, err := procfs.ListTasks(p.pid)
	if err != nil {
		return nil // it has ended
	}
	for _, tid := range tids {
		if tid != p.pid && d.hasUndo(tid) && kcmp(p.at, tid, kcmpSysVSem, 0, 0) > 0 {
			return p.unsupported(fmt.Sprintf("thread %d", tid), "has System V semaphore adjustments of its own (clone(2) without CLONE_SYSVSEM)", remedy)
		}
	}
	if !d.hasUndo(p.at) {
		return nil
	}
	for _, o := range d.live() {
		if o == p {
			break
		}
		if kcmp(o.at, p.at, kcmpSysVSem, 0, 0) == 0 {
			return p.unsupported("semaphore adjustments", fmt.Sprintf("are shared with process %d (clone(2) with CLONE_SYSVSEM)", o.nspid), remedy)
		}
	}
	return nil
}

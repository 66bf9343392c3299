package checkpoint

import (
	"encoding/binary"
	"errors"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inquiry is a batch of questions to a stopped thread: system calls that write
// their answers into the arena.
type inquiry struct {
	session *inject.Session
	calls   []inject.Call
	answers []answer
	room    []byte
	at      uint64
	// err is the first error of a run that a full arena brought about.
	err error
}

func newInquiry(s *inject.Session) *inquiry {
	q := &inquiry{session: s}
	q.room, q.at = s.Data()
	return q
}

// answer takes the result of one call, and the bytes that it wrote.
type answer struct {
	call  int
	bytes []byte
	take  func(ret int64, b []byte)
}

// out marks the argument that is replaced by the address of the answer.
const out = ^uint64(0) - 1

// out8 is the place 8 bytes behind it.
const out8 = ^uint64(0) - 2

// ask adds a question whose answer has size bytes.
func (q *inquiry) ask(size int, take func(ret int64, b []byte), nr uint64, args ...uint64) {
	if len(q.room) < size+8 {
		q.err = errors.Join(q.err, q.run())
	}
	c := inject.Call{Nr: nr}
	b := q.room[:size:size]
	for i, a := range args {
		switch a {
		case out:
			a = q.at
		case out8:
			a = q.at + 8
		}
		c.Args[i] = a
	}
	size = (size + 7) &^ 7
	q.room, q.at = q.room[size:], q.at+uint64(size)
	q.answers = append(q.answers, answer{len(q.calls), b, take})
	q.calls = append(q.calls, c)
}

// run has the questions answered.
func (q *inquiry) run() error {
	if q.err != nil {
		return q.err
	}
	if err := q.session.Run(q.calls); err != nil {
		return err
	}
	for _, a := range q.answers {
		a.take(q.calls[a.call].Ret, a.bytes)
	}
	q.calls, q.answers = nil, nil
	q.room, q.at = q.session.Data()
	return nil
}

func word(b []byte) uint64   { return binary.LittleEndian.Uint64(b) }
func word32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// describe visits every thread and fills in its record and that of its process.
func (d *dump) describe(in *inject.Injector) error {
	for _, p := range d.live() {
		place, err := p.place()
		if err != nil {
			return err
		}
		known := d.testimony(p)
		for i, th := range p.threads {
			if err := d.visit(in, p, th, place, known, i == 0); err != nil {
				return &Error{"describe", p.nspid, err}
			}
			if i > 0 {
				continue
			}
			if err := d.settleTimers(p); err != nil {
				return &Error{"describe the timers of", p.nspid, err}
			}
		}
	}
	return nil
}

// place finds room for the injection in the process.
func (p *process) place() (inject.Place, error) {
	var place inject.Place
	ranges := make([]inject.Range, 0, len(p.areas))
	for _, a := range p.areas {
		r := inject.Range{Start: a.Start, End: a.End}
		ranges = append(ranges, r)
		if a.Path == "[vdso]" {
			place.VDSO = r
		}
	}
	var err error
	place.Arena, err = inject.FreeRange(ranges, inject.Size)
	return place, err
}

// visit fills in one thread: what ptrace tells, and what only the thread itself
// can say; the leader answers for the process too.
func (d *dump) visit(in *inject.Injector, p *process, th *thread, place inject.Place, known *testimony, leader bool) error {
	home, err := d.registers(p, th)
	if err != nil {
		return err
	}
	if err := d.threadFromOutside(p, th, &home); err != nil {
		return err
	}
	th.home = home
	if !leader && known.answer(th, &home) {
		return th.own()
	}
	if leader {
		if p.waiting, err = p.pending(); err != nil {
			return err
		}
	}
	s, err := in.Enter(th.traced, p.mem, place, home)
	if err != nil {
		return err
	}
	if leader {
		if err := p.lockedFuture(place); err != nil {
			return errors.Join(err, s.Leave())
		}
	}
	q := newInquiry(s)
	d.askThread(q, th)
	if leader {
		err = d.askProcess(q, p)
	}
	if err == nil {
		err = q.run()
	}
	if err == nil && leader {
		err = d.askPolicies(q, p)
	}
	if err == nil && leader {
		err = d.askUndo(s, p)
	}
	if lerr := s.Leave(); lerr != nil {
		return lerr
	}
	if err == nil {
		known.confirm(th, &home)
	}
	return err
}

// inquire puts questions to a process that has been described.
func (d *dump) inquire(p *process, ask func(*inquiry)) error {
	place, err := p.place()
	if err != nil {
		return err
	}
	th := p.threads[0]
	s, err := d.injector.Enter(th.traced, p.mem, place, th.home)
	if err != nil {
		return &Error{"ask", p.nspid, err}
	}
	q := newInquiry(s)
	ask(q)
	err = q.run()
	return errors.Join(err, s.Leave())
}

// registers reads the registers with which the thread shall go on: those of the
// stop, put right where the kernel would not do it by itself.
func (d *dump) registers(p *process, th *thread) (ptrace.Registers, error) {
	home, err := th.traced.Registers()
	if err != nil {
		return home, err
	}
	if inject.Interrupted(&home) {
		s, err := d.frozen.watch.Stopped(p.pid, th.tid, th.sleep, sleeping.CallOf(&home), th.stopped)
		if err == nil {
			th.left = &specs.Sleep{Syscall: int32(s.Syscall), Left: s.Left}
		}
	}
	if err := th.putRemainder(p, &home); err != nil {
		return home, err
	}
	seq, err := th.traced.RSeq()
	if err != nil {
		return home, err
	}
	inject.AbortRSeq(p.mem, seq, &home)
	th.rseq = seq
	return home, nil
}

// askThread asks for what belongs to the thread.
func (d *dump) askThread(q *inquiry, th *thread) {
	r := th.record
	q.ask(24, func(ret int64, b []byte) {
		r.AltStackBase, r.AltStackFlags, r.AltStackSize = word(b), int32(word32(b[8:])), word(b[16:])
	}, unix.SYS_SIGALTSTACK, 0, out)
	q.ask(8, func(ret int64, b []byte) { r.PDeathSig = int32(word32(b)) }, unix.SYS_PRCTL, unix.PR_GET_PDEATHSIG, out)
	q.ask(8, func(ret int64, b []byte) { r.ClearTID = word(b) }, unix.SYS_PRCTL, unix.PR_GET_TID_ADDRESS, out)
	q.ask(0, func(ret int64, _ []byte) { r.Creds.SecureBits = uint32(ret) }, unix.SYS_PRCTL, unix.PR_GET_SECUREBITS)
	q.ask(8, func(ret int64, b []byte) { r.TSC = int32(word32(b)) }, unix.SYS_PRCTL, unix.PR_GET_TSC, out)
	q.ask(0, func(ret int64, _ []byte) { r.TimerSlack = uint64(ret) }, unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK)
	d.askThreadAttributes(q, r)
}

// askProcess asks for what belongs to the whole process.
func (d *dump) askProcess(q *inquiry, p *process) error {
	r := p.record
	q.ask(8, func(_ int64, b []byte) { r.Subreaper = word32(b) != 0 }, unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, out)
	q.ask(0, func(ret int64, _ []byte) { r.Dumpable = int32(ret) }, unix.SYS_PRCTL, unix.PR_GET_DUMPABLE)
	d.askProcessAttributes(q, p)
	q.ask(0, func(ret int64, _ []byte) { p.brk = uint64(ret) }, unix.SYS_BRK, 0)
	askHandlers(q, p)
	askIntervals(q, p)
	if p.pid == d.target.Init && !d.target.Host {
		d.askUTS(q)
		if d.inner.outside {
			d.countSysV(q)
		}
	}
	d.askChildren(q, p)
	return d.askTimers(q, p)
}

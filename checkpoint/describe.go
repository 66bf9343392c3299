package checkpoint

import (
	"errors"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// atOnce is how many processes are asked at the same time: enough that tracer and tasks do not wait for each
// other.
const atOnce = 8

// describe visits every thread and fills in its record and that of its process. Processes take turns, but for
// those that share their memory, in which there is room for one visit.
func (d *dump) describe() error {
	var jobs []func(ptrace.Idle) error
	for _, sharers := range d.sharers() {
		jobs = append(jobs, func(idle ptrace.Idle) error {
			for _, p := range sharers {
				if err := d.describeProcess(p, idle); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return ptrace.Turns(atOnce, jobs)
}

// sharers are the processes that live, together those that share their memory.
func (d *dump) sharers() [][]*process {
	kin, places := newKin(kcmpVM), map[*process]int{}
	var list [][]*process
	for _, p := range d.live() {
		if first := kin.add(p); first != nil {
			list[places[first]] = append(list[places[first]], p)
			continue
		}
		places[p] = len(list)
		list = append(list, []*process{p})
	}
	return list
}

// describeProcess visits the threads of a process.
func (d *dump) describeProcess(p *process, idle ptrace.Idle) error {
	for _, th := range p.threads {
		th.traced.TakeTurns(idle)
		defer th.traced.TakeTurns(nil)
	}
	place, err := p.place()
	if err != nil {
		return err
	}
	known := d.testimony(p)
	for i, th := range p.threads {
		if err := d.visit(d.injector, p, th, place, known, i == 0); err != nil {
			return &Error{"describe", p.nspid, err}
		}
		if i > 0 {
			continue
		}
		if err := d.settleTimers(p); err != nil {
			return &Error{"describe the timers of", p.nspid, err}
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
		call := sleeping.CallOf(&home)
		call.Switches = th.status.VoluntaryCtxtSwitches
		s, err := d.frozen.watch.Stopped(p.pid, th.tid, th.sleep, call, th.stopped)
		switch {
		case err == nil:
			th.left = &specs.Sleep{Syscall: int32(s.Syscall), Left: s.Left}
		case !errors.Is(err, sleeping.ErrUntimed):
			d.log.WithError(err).WithField("thread", th.tid).Debug("what is left of a sleep is not known: it begins anew")
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

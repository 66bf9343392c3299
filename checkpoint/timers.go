package checkpoint

import (
	"bytes"
	"errors"
	"slices"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// askIntervals asks for the three timers of setitimer(2).
func askIntervals(q *inquiry, p *process) {
	for which := range int32(3) {
		q.ask(32, func(_ int64, b []byte) {
			v := specs.Interval{Which: which, Interval: timeval(b), Value: timeval(b[16:])}
			if v.Value != 0 || v.Interval != 0 {
				p.record.Intervals = append(p.record.Intervals, v)
			}
		}, unix.SYS_GETITIMER, uint64(which), out)
	}
}

// settleTimers sees that timers and the signals that they send fit together. Timers run on
// while their task stands still: one that expires between the two readings would be lost,
// or come twice. A signal that waits already is not queued again, so it settles soon.
func (d *dump) settleTimers(p *process) error {
	r := p.record
	for range settleTries {
		now, err := p.pending()
		if err != nil {
			return err
		}
		settled := slices.EqualFunc(p.waiting, now, sameSignals) || len(r.Intervals) == 0 && len(r.Timers) == 0
		p.takePending(now)
		if settled {
			return nil
		}
		r.Intervals, r.Timers = nil, nil
		err = d.inquire(p, func(q *inquiry) {
			askIntervals(q, p)
			q.err = errors.Join(q.err, d.askTimers(q, p))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settleTries bounds settleTimers where somebody outside sends signals all the time.
const settleTries = 16

func sameSignals(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// pending reads the signals that wait: the process's, then the first thread's own, and of
// other threads those that timers may send them.
func (p *process) pending() ([][][]byte, error) {
	shared, err := p.threads[0].traced.Pending(true)
	if err != nil {
		return nil, err
	}
	list := [][][]byte{shared}
	for _, th := range p.targets() {
		own, err := th.traced.Pending(false)
		if err != nil {
			return nil, err
		}
		list = append(list, own)
	}
	return list, nil
}

// targets are the threads to which timers send signals, and the first.
func (p *process) targets() []*thread {
	if slices.ContainsFunc(p.timers, func(t procfs.Timer) bool { return t.Notify == procfs.SigevThreadID }) {
		return p.threads
	}
	return p.threads[:1]
}

// takePending keeps what pending has read.
func (p *process) takePending(list [][][]byte) {
	p.waiting = list
	p.record.Pending = siginfos(list[0])
	for i, th := range p.targets() {
		th.pending, th.settled = list[i+1], true
		if th.record != nil {
			th.record.Pending = siginfos(th.pending)
		}
	}
}

// askTimers asks for the POSIX timers that /proc/PID/timers lists.
func (d *dump) askTimers(q *inquiry, p *process) error {
	for _, t := range p.timers {
		rec := specs.Timer{
			ID: int32(t.ID), Clock: int32(t.ClockID), Notify: int32(t.Notify),
			Signal: int32(t.Signal), Value: t.Value,
		}
		if t.Notify == procfs.SigevThreadID {
			tid, err := d.innerPID(t.Target)
			if err != nil {
				return err
			}
			rec.TID = int32(tid)
		}
		at := len(p.record.Timers)
		p.record.Timers = append(p.record.Timers, rec)
		q.ask(32, func(_ int64, b []byte) {
			p.record.Timers[at].Interval, p.record.Timers[at].Left = timespec(b), timespec(b[16:])
		}, unix.SYS_TIMER_GETTIME, uint64(t.ID), out)
		q.ask(0, func(ret int64, _ []byte) {
			p.record.Timers[at].Overrun = int32(max(ret, 0))
		}, unix.SYS_TIMER_GETOVERRUN, uint64(t.ID))
	}
	return nil
}

// timeval and timespec read the kernel's 64-bit structures as nanoseconds.
func timeval(b []byte) int64  { return int64(word(b))*1e9 + int64(word(b[8:]))*1e3 }
func timespec(b []byte) int64 { return int64(word(b))*1e9 + int64(word(b[8:])) }

package checkpoint

import (
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

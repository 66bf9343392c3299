package procfs

import (
	"bytes"
	"math"
)

// Timerfd is the state of a timerfd_create(2) file (fs/timerfd.c, timerfd_show).
type Timerfd struct {
	// ClockID is CLOCK_*.
	ClockID int
	// Ticks is how many expirations wait to be read.
	Ticks uint64
	// SettimeFlags are those of the last timerfd_settime(2).
	SettimeFlags uint32
	// Value is the time until the next expiration, also for an absolute timer,
	// 0 if it is not armed; Interval the period. Both are in nanoseconds.
	Value, Interval int64
}

func timerfdLine(parse func(*Timerfd, []byte) bool) fdLine {
	return func(i *FDInfo, v []byte) bool {
		if i.Timerfd == nil {
			i.Timerfd = new(Timerfd)
		}
		return parse(i.Timerfd, v)
	}
}

func (t *Timerfd) parseClock(v []byte) (ok bool) {
	t.ClockID, ok = parsePID(v)
	return ok
}

func (t *Timerfd) parseTicks(v []byte) (ok bool) {
	t.Ticks, ok = parseUint(v, 10)
	return ok
}

func (t *Timerfd) parseFlags(v []byte) bool {
	flags, ok := parseUint(v, 8)
	t.SettimeFlags = uint32(flags)
	return ok && flags <= math.MaxUint32
}

func (t *Timerfd) parseValue(v []byte) (ok bool) {
	t.Value, ok = parseTimespec(v)
	return ok
}

func (t *Timerfd) parseInterval(v []byte) (ok bool) {
	t.Interval, ok = parseTimespec(v)
	return ok
}

// parseTimespec reads "(seconds, nanoseconds)" and gives nanoseconds.
func parseTimespec(v []byte) (int64, bool) {
	v, open := bytes.CutPrefix(v, []byte("("))
	v, end := bytes.CutSuffix(v, []byte(")"))
	s, ns, comma := bytes.Cut(v, []byte(","))
	if !open || !end || !comma {
		return 0, false
	}
	sec, ok1 := parseUint(trim(s), 10)
	nsec, ok2 := parseUint(trim(ns), 10)
	// The kernel's ktime_t is a signed count of nanoseconds too.
	if !ok1 || !ok2 || nsec >= 1e9 || sec > (math.MaxInt64-nsec)/1e9 {
		return 0, false
	}
	return int64(sec*1e9 + nsec), true
}

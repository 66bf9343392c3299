package procfs

import (
	"bytes"
	"math"
)

// Sched is what /proc/PID/task/TID/sched (kernel/sched/debug.c) tells of use here.
// Times are in nanoseconds of the scheduler's clock.
type Sched struct {
	// ExecStart is when the scheduler last looked at the thread while it ran:
	// while it stays the same, the thread has not run.
	ExecStart int64
	// SumExecRuntime is how long it has run in all.
	SumExecRuntime int64
	// Switches counts how often it was scheduled out.
	Switches int64
	// VoluntarySwitches are those of them in which it went to sleep, as in status.
	VoluntarySwitches uint64
}

// ParseSched reads /proc/PID/task/TID/sched; se.exec_start must be there.
func ParseSched(b []byte) (Sched, error) {
	var s Sched
	found := false
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		// The thread's name stands in the first line and may have a line feed,
		// but then ", #threads" comes before the colon: a forged key does not
		// match.
		key, value, _ := bytes.Cut(line, []byte(":"))
		ok := true
		switch string(trim(key)) {
		case "se.exec_start":
			s.ExecStart, ok = parseMillis(trim(value))
			found = true
		case "se.sum_exec_runtime":
			s.SumExecRuntime, ok = parseMillis(trim(value))
		case "nr_switches":
			s.Switches, ok = parseInt(trim(value))
		case "nr_voluntary_switches":
			s.VoluntarySwitches, ok = parseUint(trim(value), 10)
		}
		if !ok {
			return Sched{}, badLine("sched", n, line, "not understood")
		}
	}
	if !found {
		return Sched{}, badFile("sched", "se.exec_start is missing")
	}
	return s, nil
}

// parseMillis reads milliseconds with six digits behind the point, as SPLIT_NS
// writes nanoseconds.
func parseMillis(v []byte) (int64, bool) {
	whole, part, point := bytes.Cut(v, []byte("."))
	ms, ok1 := parseUint(whole, 10)
	ns, ok2 := parseUint(part, 10)
	if !point || !ok1 || !ok2 || len(part) != 6 || ms > (math.MaxInt64-ns)/1e6 {
		return 0, false
	}
	return int64(ms*1e6 + ns), true
}

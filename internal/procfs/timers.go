package procfs

import "bytes"

// The ways in which a POSIX timer tells its owner (sigevent(3type)).
const (
	SigevSignal   = 0
	SigevNone     = 1
	SigevThread   = 2
	SigevThreadID = 4
)

// Timer is one POSIX timer of /proc/PID/timers (fs/proc/base.c, show_timer). The
// times of a timer are not there; timer_gettime(2) in the task has them.
type Timer struct {
	// ID is the kernel's timer_t.
	ID int
	// Signal is what is sent, Value the sigev_value in it.
	Signal int
	Value  uint64
	// Notify is one of Sigev*; SigevThreadID is the kernel's
	// SIGEV_SIGNAL|SIGEV_THREAD_ID.
	Notify int
	// Target is the process, or with SigevThreadID the thread, to tell.
	Target int
	// ClockID is that of timer_create(2), negative for a CPU-time clock.
	ClockID int
}

// timerLines are the lines of one timer, in their order.
var timerLines = [...]struct {
	prefix string
	parse  func(*Timer, []byte) bool
}{
	{"ID: ", func(t *Timer, v []byte) (ok bool) { t.ID, ok = parsePID(v); return }},
	{"signal: ", (*Timer).parseSignal},
	{"notify: ", (*Timer).parseNotify},
	{"ClockID: ", func(t *Timer, v []byte) (ok bool) { t.ClockID, ok = parsePID(v); return }},
}

// ParseTimers reads /proc/PID/timers.
func ParseTimers(b []byte) ([]Timer, error) {
	var timers []Timer
	for n := 1; len(b) > 0; {
		var t Timer
		for _, l := range timerLines {
			var line []byte
			line, b = nextLine(b)
			v, found := bytes.CutPrefix(line, []byte(l.prefix))
			if !found {
				return nil, badLine("timers", n, line, "expected "+l.prefix)
			}
			if !l.parse(&t, trim(v)) {
				return nil, badLine("timers", n, line, "not understood")
			}
			n++
		}
		timers = append(timers, t)
	}
	return timers, nil
}

// parseSignal reads "14/000000001234abcd". Kernels before 4.15 write a null
// pointer as "(null)".
func (t *Timer) parseSignal(v []byte) (ok bool) {
	signal, value, found := bytes.Cut(v, []byte("/"))
	if t.Signal, ok = parsePID(signal); !ok || !found {
		return false
	}
	if value = trim(value); string(value) == "(null)" {
		return true
	}
	t.Value, ok = parseHex(value)
	return ok
}

// parseNotify reads "signal/tid.4711".
func (t *Timer) parseNotify(v []byte) (ok bool) {
	how, whom, _ := bytes.Cut(v, []byte("/"))
	switch string(how) {
	case "signal":
		t.Notify = SigevSignal
	case "none":
		t.Notify = SigevNone
	case "thread":
		t.Notify = SigevThread
	default:
		return false
	}
	kind, id, _ := bytes.Cut(whom, []byte("."))
	switch string(kind) {
	case "tid":
		t.Notify |= SigevThreadID
	case "pid":
	default:
		return false
	}
	t.Target, ok = parsePID(id)
	return ok
}

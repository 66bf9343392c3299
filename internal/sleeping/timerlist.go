package sleeping

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// timer is an active high-resolution timer that will wake a thread.
type timer struct {
	base   int   // HRTIMER_BASE_*: 0 monotonic, 1 realtime, 2 boottime, 3 TAI
	expiry int64 // the earliest, that is without the slack, on that clock
}

// parseTimerList reads /proc/timer_list (kernel/time/timer_list.c) and returns
// the timers whose function is hrtimer_wakeup. Lines that it does not know are
// passed over, since later kernels may show more.
func parseTimerList(b []byte) ([]timer, error) {
	if !bytes.HasPrefix(b, []byte("Timer List Version:")) {
		return nil, fmt.Errorf("parse timer list: no header: %w", unix.EINVAL)
	}
	var timers []timer
	base, wakes := -1, false
	for line := range bytes.Lines(b) {
		l := bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(l, []byte("cpu:")):
			base = -1
		case bytes.HasPrefix(l, []byte("clock ")) && bytes.HasSuffix(l, []byte(":")):
			n, err := strconv.Atoi(string(l[len("clock ") : len(l)-1]))
			if err != nil || n < 0 || n > 7 {
				return nil, fmt.Errorf("parse timer list line %q: %w", l, unix.EINVAL)
			}
			base = n % 4 // the upper four expire in soft interrupts
		case bytes.HasPrefix(l, []byte("# expires at ")):
			if wakes && base >= 0 {
				first, _, _ := bytes.Cut(l[len("# expires at "):], []byte("-"))
				expiry, err := strconv.ParseInt(string(first), 10, 64)
				if err != nil {
					return nil, fmt.Errorf("parse timer list line %q: %w", l, err)
				}
				timers = append(timers, timer{base, expiry})
			}
			wakes = false
		case bytes.HasPrefix(l, []byte("#")):
			wakes = bytes.Contains(l, []byte(", hrtimer_wakeup,"))
		}
	}
	return timers, nil
}

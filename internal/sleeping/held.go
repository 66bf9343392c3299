package sleeping

import "slices"

// traps are where a thread of a frozen cgroup of version 2 waits, as /proc/PID/task/TID/wchan shows it: do_freezer_trap of
// kernel/signal.c, which compilers make part of its only caller.
var traps = []string{"do_freezer_trap", "get_signal"}

// Held is told of a thread whose cgroup is being frozen, after that has been asked for and before the thread is
// interrupted. From then on it cannot reach its program any more, so that being in the sleep that Look saw, it remains in it. That
// is noted in the sleep, for Stopped: the count of its switches does not tell it afterwards, since it may have
// been stopped on its way to the freezer or have waited there, which is one more.
//
// What cannot be told is left as it was, and may make the sleep longer.
func (w *Watch) Held(pid, tid int, s *Sleep) {
	if s.later {
		return
	}
	t := thread{pid, tid}
	switch n, err := t.slept(); {
	case err != nil:
	case n == s.Switches:
		s.held = true // asleep yet, or on its way
	case n == s.Switches+1:
		// In the freezer, if it has not been in another sleep between, which would be one more.
		wchan, err := t.read("wchan")
		if err != nil || !slices.Contains(traps, string(wchan)) {
			return
		}
		n, err = t.slept()
		s.held = err == nil && n == s.Switches+1
	}
}

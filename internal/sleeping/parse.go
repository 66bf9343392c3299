package sleeping

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// parseSyscall reads /proc/PID/task/TID/syscall (proc_pid_syscall in
// fs/proc/base.c): "running", "-1 SP PC" outside of a call, or the number, six
// arguments, SP and PC. Only the last form gives an error of nil.
func parseSyscall(b []byte) (nr int, args [6]uint64, err error) {
	fields := strings.Fields(string(b))
	switch {
	case len(fields) == 1 && fields[0] == "running":
		return 0, args, ErrAwake
	case len(fields) == 3 && fields[0] == "-1":
		return 0, args, ErrAwake
	case len(fields) != 9:
		return 0, args, fmt.Errorf("parse syscall file %q: %w", b, unix.EINVAL)
	}
	if nr, err = strconv.Atoi(fields[0]); err != nil {
		return 0, args, fmt.Errorf("parse syscall number: %w", err)
	}
	for i := range args {
		if args[i], err = strconv.ParseUint(fields[1+i], 0, 64); err != nil {
			return 0, args, fmt.Errorf("parse syscall argument: %w", err)
		}
	}
	return nr, args, nil
}

// sched is what /proc/PID/task/TID/sched (proc_sched_show_task in
// kernel/sched/debug.c) tells of a sleep.
type sched struct {
	execStart int64 // nanoseconds of rq_clock_task
	switches  uint64
}

func parseSched(b []byte) (sched, error) {
	var s sched
	var found int
	for line := range bytes.Lines(b) {
		name, value, ok := strings.Cut(string(line), ":")
		if !ok {
			continue
		}
		var err error
		switch strings.TrimSpace(name) {
		case "se.exec_start":
			s.execStart, err = parseMillis(strings.TrimSpace(value))
		case "nr_voluntary_switches":
			s.switches, err = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		default:
			continue
		}
		if err != nil {
			return sched{}, fmt.Errorf("parse sched line %q: %w", line, err)
		}
		found++
	}
	if found != 2 {
		return sched{}, fmt.Errorf("parse sched file: fields are missing: %w", unix.EINVAL)
	}
	return s, nil
}

// parseMillis reads milliseconds with six decimals as nanoseconds.
func parseMillis(v string) (int64, error) {
	ms, fraction, ok := strings.Cut(v, ".")
	if !ok || len(fraction) != 6 {
		return 0, fmt.Errorf("%q is not in milliseconds: %w", v, unix.EINVAL)
	}
	return strconv.ParseInt(ms+fraction, 10, 64)
}

// parseStat returns the state letter and the last processor of a thread from
// its stat file (proc_pid_stat(5), fields 3 and 39).
func parseStat(b []byte) (state byte, cpu int, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, 0, fmt.Errorf("parse stat %q: %w", b, unix.EINVAL)
	}
	fields := strings.Fields(string(b[i+1:]))
	if len(fields) < 37 {
		return 0, 0, fmt.Errorf("parse stat %q: %w", b, unix.EINVAL)
	}
	cpu, err = strconv.Atoi(fields[36])
	if err != nil || cpu < 0 {
		return 0, 0, fmt.Errorf("parse processor in stat %q: %w", b, unix.EINVAL)
	}
	return fields[0][0], cpu, nil
}

// restarted tells from the kernel stack of a thread in restart_syscall(2), which
// sleeps, what call goes on: poll, futex, nanosleep and clock_nanosleep are all
// that are restarted in this way. The functions of the last two are left out of
// the stack as parts of the scheduler (__sched), so they are what remains. Of
// these the first argument of the one is a pointer, which never lies in the
// first page, and that of the other a clock.
func restarted(stack []byte, args [6]uint64) (nr int, ok bool) {
	has := func(name string) bool { return bytes.Contains(stack, []byte(name)) }
	switch {
	case len(bytes.TrimSpace(stack)) == 0, has("signal_stop"), has("ptrace_stop"):
		return 0, false
	case has("poll"):
		return pollNumber, pollNumber >= 0
	case has("futex"):
		return unix.SYS_FUTEX, true
	case args[0] < 4096, args[0] > 1<<63, args[0]>>31 == 1: // clocks of processes are negative
		return unix.SYS_CLOCK_NANOSLEEP, true
	}
	return unix.SYS_NANOSLEEP, true
}

package kmem

import "golang.org/x/sys/unix"

// RestartKind is which part of a struct restart_block (include/linux/restart_block.h) a call uses.
type RestartKind int

// The calls that go on by restart_syscall(2) with what is left of their time. RestartSleep are
// nanosleep(2) and clock_nanosleep(2).
const (
	RestartPoll RestartKind = iota
	RestartFutex
	RestartSleep
)

// RestartEnd tells when the call of a stopped thread ends that goes on by restart_syscall(2): in nanoseconds of a
// clock. It has a meaning only as long as the registers show ERESTART_RESTARTBLOCK.
func (r *Reader) RestartEnd(tid int, kind RestartKind) (clock int32, end int64, err error) {
	task, known := r.stopped[tid]
	if !known {
		l, err := r.threadLayout()
		if err != nil {
			return 0, 0, err
		}
		if task, err = r.leader(tid, &l); err != nil {
			return 0, 0, err
		}
	}
	block, err := r.Follow(task, "task_struct.restart_block&")
	if err != nil {
		return 0, 0, err
	}
	read := func(field string) (v uint64) {
		if err == nil {
			v, err = r.Follow(block, "restart_block."+field)
		}
		return v
	}
	clock = unix.CLOCK_MONOTONIC
	switch kind {
	case RestartPoll:
		// Two members of their own, or of one struct timespec64 in later kernels.
		sec, nsec := "poll.tv_sec", "poll.tv_nsec"
		if _, none := r.Offset("restart_block." + sec); none != nil {
			sec, nsec = "poll.end_time.tv_sec", "poll.end_time.tv_nsec"
		}
		end = int64(read(sec))*1e9 + int64(read(nsec))
	case RestartFutex:
		end = int64(read("futex.time"))
	case RestartSleep:
		end = int64(read("nanosleep.expires"))
		clock = int32(read("nanosleep.clockid"))
	}
	return clock, end, err
}

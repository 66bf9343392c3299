package restore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/timens"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Clocks tells how far the clocks of a fresh container must be ahead of ours for those of an
// image to go on: CLOCK_MONOTONIC has run on since the checkpoint, as the wall clock tells,
// even if the machine was booted since or is another. Within one boot that is as far as the
// original's were, mostly not at all.
//
// CLOCK_BOOTTIME is left to jump with a boot: runtimes know a process by the time of its
// start, which the kernel shows on the reader's CLOCK_BOOTTIME (proc_pid_stat(5)), and one
// that lives with the container's would write down another than the next one reads.
func Clocks(h *specs.Header) (timens.Offsets, error) {
	ahead := timens.Offsets{Monotonic: h.MonotonicOffset}
	same, err := sameBoot(h)
	if same || err != nil {
		return ahead, err
	}
	var wall, monotonic unix.Timespec
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic), unix.ClockGettime(unix.CLOCK_REALTIME, &wall)); err != nil {
		return ahead, err
	}
	away := max(wall.Nano()-h.Created, 0)
	ahead.Monotonic += h.Monotonic + away - monotonic.Nano()
	return ahead, nil
}

// clocks are the container's, compared with those of the checkpoint.
type clocks struct {
	// monotonic and boottime tell that dates on these clocks keep their meaning, shift by
	// how much more ours show at such a date than they did: the container's time namespace may be
	// another.
	monotonic, boottime bool
	shift               timens.Offsets
}

// date is what our clock shows at a date, or instead if that has lost its meaning.
func (c clocks) date(clock int32, then, instead int64) int64 {
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM:
		return then
	case unix.CLOCK_MONOTONIC:
		if c.monotonic {
			return then + c.shift.Monotonic
		}
	default:
		if c.boottime {
			return then + c.shift.Boottime
		}
	}
	return instead
}

// sameBoot tells whether the machine has not been booted since the checkpoint.
func sameBoot(h *specs.Header) (bool, error) {
	if h.BootID == "" {
		return true, nil
	}
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)) == h.BootID, err
}

// enterClocks sees that the container's process will be in the time namespace that it
// needs. Where the runtime's init is in another it makes one now, which its exec
// enters; that is refused to an init that has given up its privileges.
func (r *restorer) enterClocks(init int, threads map[int]*ptrace.Thread) error {
	h := r.img.Header()
	want, err := Clocks(h)
	if err != nil {
		return err
	}
	have, err := timens.Seen(init)
	if err != nil {
		return err
	}
	same, err := sameBoot(h)
	if err != nil {
		return err
	}
	kept := near(want.Monotonic, have.Monotonic)
	if !kept {
		want.Boottime = have.Boottime
		err := errNotByExec
		if timens.ByExec() {
			err = makeTimeNamespace(threads[init], init, want)
		}
		if err != nil {
			jump := time.Duration(have.Monotonic - want.Monotonic).Round(time.Second)
			r.log.WithError(err).Warnf("CLOCK_MONOTONIC jumps by %v in the container: it could not be given a time namespace", jump)
		} else {
			have, kept = want, true
		}
	}
	r.clocks = clocks{
		monotonic: same || kept,
		boottime:  same,
		shift:     timens.Offsets{Monotonic: h.MonotonicOffset - have.Monotonic, Boottime: h.BoottimeOffset - have.Boottime},
	}
	return nil
}

// errNotByExec is that of old kernels.
var errNotByExec = errors.New("this kernel has a process enter one by a fork alone")

// clockSlack is by how much offsets may differ, in nanoseconds, that were reckoned at two
// moments with clocks that NTP slews.
const clockSlack = 10e9

func near(a, b int64) bool { return a-b < clockSlack && b-a < clockSlack }

// makeTimeNamespace has the first thread of the runtime's init, which is the one that
// executes, call unshare(CLONE_NEWTIME).
func makeTimeNamespace(th *ptrace.Thread, init int, want timens.Offsets) error {
	if th == nil {
		return ptrace.ErrGone
	}
	if _, err := th.Halt(); err != nil {
		return err
	}
	home, err := th.Registers()
	if err != nil {
		return err
	}
	mask, err := th.SigMask()
	if err != nil {
		return err
	}
	call := inject.Call{Nr: unix.SYS_UNSHARE, Args: [6]uint64{unix.CLONE_NEWTIME}}
	if err := singleIn(th, init, &call); err != nil {
		return err
	}
	if _, err := th.Halt(); err != nil {
		return err
	}
	home = inject.Restarted(home)
	if err := th.SetSigMask(mask); err != nil {
		return err
	}
	if err := th.SetRegisters(&home); err != nil {
		return err
	}
	if call.Ret == 0 {
		err = want.Set(init)
	} else {
		err = fmt.Errorf("unshare in the runtime's init: %w", unix.Errno(-call.Ret))
	}
	if cont := th.Cont(0); cont != nil {
		return cont
	}
	return err
}

// singleIn makes one call in a halted thread of a process that is not one of ours.
func singleIn(th *ptrace.Thread, pid int, call *inject.Call) error {
	areas, err := procfs.ReadMaps(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	gate, err := (&layout{areas: areas}).gate(mem)
	if err != nil {
		return err
	}
	if err := th.SetSigMask(^uint64(0)); err != nil {
		return err
	}
	return inject.Single(th, gate, call)
}

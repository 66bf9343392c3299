package sleeping

import (
	"errors"
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestResume(t *testing.T) {
	const sp, below = 0x7ffe00001238, (0x7ffe00001238 - redZone - 16) &^ 15
	const seconds = int64(3_000_000_005)
	bytes := []byte{3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0}
	for _, tt := range []struct {
		name  string
		nr    int
		args  [6]uint64
		errno syscall.Errno
		left  int64
		want  Change
	}{
		{"register, rounded up", unix.SYS_EPOLL_PWAIT, [6]uint64{4, 5, 6, 9000}, unix.EINTR, seconds,
			Change{Args: [6]uint64{4, 5, 6, 3001}}},
		{"register, over", unix.SYS_EPOLL_PWAIT, [6]uint64{4, 5, 6, 9000}, unix.EINTR, 0,
			Change{Args: [6]uint64{4, 5, 6, 0}}},
		{"register, long", unix.SYS_EPOLL_PWAIT, [6]uint64{4, 5, 6, 9000}, unix.EINTR, math.MaxInt64,
			Change{Args: [6]uint64{4, 5, 6, math.MaxInt32}}},
		{"without a limit", unix.SYS_EPOLL_PWAIT, [6]uint64{4, 5, 6, math.MaxUint32}, unix.EINTR, -1,
			Change{Args: [6]uint64{4, 5, 6, math.MaxUint32}}},
		{"futex", unix.SYS_FUTEX, [6]uint64{64, futexWait | futexPrivate, 7, 0x1000}, ERESTART_RESTARTBLOCK, seconds,
			Change{Args: [6]uint64{64, futexWait | futexPrivate, 7, below}, Scratch: bytes, ScratchAddr: below}},
		{"absolute futex", unix.SYS_FUTEX, [6]uint64{64, futexWaitBitset, 7, 0x1000}, ERESTART_RESTARTBLOCK, seconds,
			Change{Args: [6]uint64{64, futexWaitBitset, 7, 0x1000}}},
		{"nanosleep", unix.SYS_NANOSLEEP, [6]uint64{0x1000}, ERESTART_RESTARTBLOCK, seconds,
			Change{Args: [6]uint64{below}, Scratch: bytes, ScratchAddr: below}},
		{"nanosleep with the rest", unix.SYS_NANOSLEEP, [6]uint64{0x1000, 0x2000}, ERESTART_RESTARTBLOCK, seconds,
			Change{Args: [6]uint64{0x2000, 0x2000}}},
		{"clock_nanosleep, absolute", unix.SYS_CLOCK_NANOSLEEP, [6]uint64{1, unix.TIMER_ABSTIME, 0x1000, 0x2000},
			ERESTARTNOHAND, seconds, Change{Args: [6]uint64{1, unix.TIMER_ABSTIME, 0x1000, 0x2000}}},
		{"ppoll that wrote the rest", unix.SYS_PPOLL, [6]uint64{1, 2, 0x1000}, ERESTARTNOHAND, seconds,
			Change{Args: [6]uint64{1, 2, 0x1000}}},
		{"ppoll that could not", unix.SYS_PPOLL, [6]uint64{1, 2, 0x1000}, unix.EINTR, seconds,
			Change{Args: [6]uint64{1, 2, below}, Scratch: bytes, ScratchAddr: below}},
		{"recvmmsg", unix.SYS_RECVMMSG, [6]uint64{1, 2, 3, 4, 0x1000}, ERESTARTSYS, seconds,
			Change{Args: [6]uint64{1, 2, 3, 4, 0x1000}}},
	} {
		tt.want.NR = tt.nr
		got, err := Resume(Call{NR: tt.nr, Args: tt.args, Ret: -int64(tt.errno), SP: sp}, tt.nr, tt.left)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", tt.name, err, diff)
		}
	}
	if _, err := Resume(Call{}, unix.SYS_READ, 1); !errors.Is(err, ErrUntimed) {
		t.Errorf("read: got %v", err)
	}
	if _, err := Resume(Call{}, unix.SYS_NANOSLEEP, -2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("negative: got %v", err)
	}
}

func FuzzResume(f *testing.F) {
	f.Add(uint64(unix.SYS_FUTEX), uint64(1), uint64(0), uint64(2), uint64(3), int64(-516), uint64(0x1000), int64(5))
	f.Add(uint64(unix.SYS_PPOLL), uint64(1), uint64(0), uint64(2), uint64(3), int64(-4), uint64(0), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, nr, a0, a1, a2, a3 uint64, ret int64, sp uint64, left int64) {
		call := Call{NR: int(nr), Args: [6]uint64{a0, a1, a2, a3, a3, a2}, Ret: ret, SP: sp}
		c, err := Resume(call, call.NR, left)
		if err != nil {
			return
		}
		if len(c.Scratch) != 0 && (len(c.Scratch) != 16 || c.ScratchAddr%16 != 0) {
			t.Errorf("%+v", c)
		}
		if left == -1 && c.Args != call.Args {
			t.Errorf("%+v", c)
		}
	})
}

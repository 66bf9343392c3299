// Package descriptors makes room in our own table of descriptors.
//
// A checkpoint holds duplicates of what a container has open, a restore all of it. A table
// that is shared by threads is doubled by the kernel each time that it is full, and each time it
// waits for all processors (synchronize_rcu in fs/file.c): five times ten milliseconds on the way to
// a thousand, with the container at a standstill. So it is made large ahead.
package descriptors

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrTooMany means that the limit of open files is too low, and cannot be raised by us.
var ErrTooMany = fmt.Errorf("more files would be open than we may have: %w", unix.EMFILE)

// spare is what we have open ourselves, at most.
const spare = 64

// Room makes room for n descriptors beside our own ones. It raises our limit of open
// files where there is the right to (CAP_SYS_RESOURCE); ErrTooMany tells that it is too low.
func Room(n int) error {
	need := uint64(n + spare)
	limit, err := raise(need)
	if err != nil {
		return err
	}
	if err := grow(int(min(need, limit)) - 1); err != nil {
		return err
	}
	if limit < need {
		return fmt.Errorf("%w: %d with our own, and the limit is %d; raise it (ulimit -Hn %d)", ErrTooMany, need, limit, need)
	}
	return nil
}

// raise raises the limit to what is needed, if it can, and returns what it is then. The call is made
// directly: by that of Go, programs that we start would have the new limit too.
func raise(need uint64) (uint64, error) {
	var now unix.Rlimit
	if err := prlimit(nil, &now); err != nil {
		return 0, fmt.Errorf("read limit of open files: %w", err)
	}
	if now.Cur >= need {
		return now.Cur, nil
	}
	for _, want := range []unix.Rlimit{{Cur: need, Max: max(now.Max, need)}, {Cur: now.Max, Max: now.Max}} {
		if prlimit(&want, nil) == nil {
			return want.Cur, nil
		}
	}
	return now.Cur, nil
}

func prlimit(to, from *unix.Rlimit) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(from)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// grow has the table reach up to a number.
func grow(top int) error {
	f, err := os.Open("/dev/null")
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, top)
	if errors.Is(err, unix.EMFILE) {
		return nil // the highest numbers are in use: it is as large as it can be
	}
	if err != nil {
		return fmt.Errorf("grow the table of descriptors to %d: %w", top, err)
	}
	return unix.Close(fd)
}

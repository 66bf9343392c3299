package kmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/osthread"
	"golang.org/x/sys/unix"
)

// Which landlock(7) domain a task is in is shown nowhere. It stands in the
// security blob of the credentials, which security modules share; the place of each is
// laid out when the kernel starts. So a thread of ours restricts itself, and the
// word of its blob that changes is the one.

// blobSize is as much of a security blob as is looked at, in bytes.
const blobSize = 128

// ErrNoLandlock tells of a kernel without landlock(7), where no task is restricted.
var ErrNoLandlock = errors.New("this kernel has no landlock")

// LandlockPlace finds out, once in a boot, where in the security blob of the credentials the
// domain stands, in bytes.
func (r *Reader) LandlockPlace() (uint64, error) {
	place, err := r.layout.place("landlock", r.findLandlock)
	return uint64(place), err
}

func (r *Reader) findLandlock() (place int, err error) {
	done := make(chan struct{})
	go osthread.Run(func() {
		defer close(done)
		place, err = r.restrictSelf()
	})
	<-done
	return place, err
}

// restrictSelf restricts the calling thread, which must be one to throw away.
func (r *Reader) restrictSelf() (int, error) {
	task, err := r.current()
	if err != nil {
		return 0, err
	}
	access := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&access)), unsafe.Sizeof(access), 0)
	if errno == unix.ENOSYS || errno == unix.EOPNOTSUPP {
		return 0, ErrNoLandlock
	}
	if errno != 0 {
		return 0, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	defer unix.Close(int(rules))
	before, err := r.blob(task)
	if err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return 0, fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	after, err := r.blob(task)
	if err != nil {
		return 0, err
	}
	for i := 0; i < blobSize; i += 8 {
		was, is := binary.NativeEndian.Uint64(before[i:]), binary.NativeEndian.Uint64(after[i:])
		if was == 0 && is>>48 == 0xffff {
			return i, nil
		}
	}
	return 0, errors.New("the domain of landlock was not found in the credentials")
}

func (r *Reader) blob(task uint64) ([]byte, error) {
	blob, err := r.Follow(task, "task_struct.cred", "cred.security")
	if err != nil {
		return nil, err
	}
	return r.Bytes(blob, blobSize)
}

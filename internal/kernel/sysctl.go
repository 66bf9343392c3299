package kernel

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tryLastPid writes the last pid as the last pid.
func tryLastPid() error { return rewrite("/proc/sys/kernel/ns_last_pid") }

// tryNextID makes a shared memory segment with an id of our choice, in an IPC
// namespace that ends with its thread.
func tryNextID() error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWIPC); err != nil {
			return missing(wrap("unshare(CLONE_NEWIPC)", err), unix.EINVAL)
		}
		const id = 4711
		// The file belongs to the namespace of who opens it: /proc/sys, unlike the
		// rest of /proc, looks at the calling thread.
		if err := write("/proc/sys/kernel/shm_next_id", strconv.Itoa(id)); err != nil {
			return missing(err, os.ErrNotExist)
		}
		got, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1, unix.IPC_CREAT|0o600)
		if err != nil {
			return wrap("shmget", err)
		}
		if _, err := unix.SysvShmCtl(got, unix.IPC_RMID, nil); err != nil {
			return wrap("shmctl", err)
		}
		if got != id {
			return absent("the segment got the id %d and not %d", got, id)
		}
		return nil
	})
}

// rewrite writes to a sysctl what it says.
func rewrite(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return missing(err, os.ErrNotExist)
	}
	return write(path, strings.TrimSpace(string(data)))
}

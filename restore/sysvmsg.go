package restore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreSysVMsg makes every message queue with its messages.
func restoreSysVMsg(r *restorer) error {
	for _, q := range records[*specs.SysVMsg](r) {
		if err := r.makeQueue(q); err != nil {
			return ipcError("System V message queue", &q.IPCPerm, err)
		}
	}
	return nil
}

func (r *restorer) makeQueue(q *specs.SysVMsg) error {
	err := r.ipc.makeObject(&q.IPCPerm, "msg", 0, func(key, flags uintptr) (uintptr, unix.Errno) {
		id, _, errno := unix.RawSyscall(unix.SYS_MSGGET, key, flags, 0)
		return id, errno
	})
	if err != nil {
		return err
	}
	total, longest := uint64(0), 0
	for _, m := range q.Messages {
		total, longest = total+uint64(len(m.Data)), max(longest, len(m.Data))
	}
	// More than fits now may have been sent before the limit was lowered.
	room := max(total, uint64(len(q.Messages)), q.MaxBytes)
	return r.ipc.do(func() error {
		return withSysctl("msgmnb", room, func() error {
			return withSysctl("msgmax", uint64(longest), func() error {
				if err := r.fillQueue(q, room); err != nil {
					return err
				}
				return setNow(unix.SYS_MSGCTL, &q.IPCPerm, q.MaxBytes)
			})
		})
	})
}

// fillQueue sends the messages, in the namespace.
func (r *restorer) fillQueue(q *specs.SysVMsg, room uint64) error {
	if len(q.Messages) == 0 {
		return nil
	}
	open := q.IPCPerm
	open.Mode = everyone
	if err := setNow(unix.SYS_MSGCTL, &open, room); err != nil {
		return err
	}
	for i, m := range q.Messages {
		b := make([]byte, 8+len(m.Data))
		binary.NativeEndian.PutUint64(b, uint64(m.Type))
		copy(b[8:], m.Data)
		_, _, errno := unix.Syscall6(unix.SYS_MSGSND, uintptr(q.ID), uintptr(unsafe.Pointer(&b[0])), uintptr(len(m.Data)), ipcNoWait, 0, 0)
		if errno != 0 {
			return fmt.Errorf("send message %d of %d bytes: %w", i, len(m.Data), errno)
		}
	}
	return nil
}

// withSysctl calls f while a sysctl of the IPC namespace is at least so high.
func withSysctl(name string, least uint64, f func() error) error {
	path := "/proc/sys/kernel/" + name
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var now uint64
	if _, err := fmt.Sscan(string(b), &now); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if now >= least {
		return f()
	}
	if err := os.WriteFile(path, []byte(strconv.FormatUint(least, 10)), 0); err != nil {
		return err
	}
	err = f()
	return errors.Join(err, os.WriteFile(path, b, 0))
}

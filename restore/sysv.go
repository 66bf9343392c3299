package restore

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// ipcSpace makes System V objects in the IPC namespace of the fresh container, on
// a thread that has left the other namespaces alone: the container's own /proc
// is read-only.
type ipcSpace struct {
	thread *ns.Thread
	pid    int
}

const (
	ipcCreate, ipcExclusive = 0o1000, 0o2000 // IPC_CREAT, IPC_EXCL
	ipcSet                  = 1              // IPC_SET
	ipcNoWait               = 0o4000         // IPC_NOWAIT
	// everyone are permissions that let every task do everything.
	everyone = 0o777
)

// do runs f in the namespace.
func (s *ipcSpace) do(f func() error) error {
	if s.thread == nil {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", s.pid))
		if err != nil {
			return err
		}
		if ours, err := os.Readlink("/proc/self/ns/ipc"); err != nil || ours == theirs {
			return errors.Join(err, fmt.Errorf("%w: the fresh container uses the host's IPC namespace; give it one of its own", ErrUnfit))
		}
		if s.thread, err = ns.Start(s.pid, ns.IPC); err != nil {
			return err
		}
	}
	return s.thread.Do(f)
}

func (s *ipcSpace) close() {
	if s.thread != nil {
		s.thread.Close()
	}
}

// makeObject makes an object with its id, key and creator. get is shmget(2) or
// the like, kind "shm", "sem" or "msg".
func (s *ipcSpace) makeObject(p *specs.IPCPerm, kind string, flags uintptr, get func(key, flags uintptr) (uintptr, unix.Errno)) error {
	flags |= ipcCreate | ipcExclusive | everyone
	return s.do(func() error {
		next := "/proc/sys/kernel/" + kind + "_next_id"
		if err := os.WriteFile(next, []byte(strconv.Itoa(int(p.ID))), 0); err != nil {
			return fmt.Errorf("choose its id: %w", err)
		}
		var id uintptr
		var errno unix.Errno
		if err := asUser(p.CUID, p.CGID, func() { id, errno = get(uintptr(uint32(p.Key)), flags) }); err != nil {
			return fmt.Errorf("become its creator %d:%d: %w", p.CUID, p.CGID, err)
		}
		switch {
		case errno == unix.EEXIST:
			return fmt.Errorf("%w: the fresh container has one with this key already", ErrUnfit)
		case errno == unix.ENOSPC || errno == unix.ENOMEM || errno == unix.EINVAL:
			return fmt.Errorf("make it: %w; compare the sysctls kernel.%s* of the container with what it had", errno, kind)
		case errno != 0:
			return fmt.Errorf("make it: %w", errno)
		case int32(id) != p.ID:
			return fmt.Errorf("%w: it got the id %d: the fresh container has objects of its own", ErrUnfit, int32(id))
		}
		return nil
	})
}

// asUser calls f with the effective ids of another user: what is made has them
// as its creator's. Only the calling thread changes, and f must not leave it.
func asUser(uid, gid uint32, f func()) error {
	if uid == 0 && gid == 0 {
		f()
		return nil
	}
	const keep = ^uintptr(0)
	set := func(uid, gid uintptr) error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, gid, keep); errno != 0 {
			return errno
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uid, keep); errno != 0 {
			return errno
		}
		return nil
	}
	if err := set(uintptr(uid), uintptr(gid)); err != nil {
		return err
	}
	f()
	// The user first: it brings back the right to set the group.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		return errno
	}
	return set(0, 0)
}

// control is ipcControl in the namespace.
func (s *ipcSpace) control(nr uintptr, id int32, num, cmd int, arg unsafe.Pointer) error {
	return s.do(func() error { return ipcControl(nr, id, num, cmd, arg) })
}

// ipcControl is shmctl(2), semctl(2) or msgctl(2).
func ipcControl(nr uintptr, id int32, num, cmd int, arg unsafe.Pointer) error {
	args := [4]uintptr{uintptr(id), uintptr(cmd), uintptr(arg), 0}
	if nr == unix.SYS_SEMCTL {
		args = [4]uintptr{uintptr(id), uintptr(num), uintptr(cmd), uintptr(arg)}
	}
	if _, _, errno := unix.Syscall6(nr, args[0], args[1], args[2], args[3], 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// ipcStatus is the room of struct shmid64_ds, semid64_ds or msqid64_ds: struct
// ipc64_perm comes first (include/uapi/asm-generic/ipcbuf.h).
type ipcStatus struct {
	key, uid, gid, cuid, cgid, mode uint32
	_                               [24]byte
	// rest of struct msqid64_ds; only its limit can be set.
	_        [5]uint64
	maxBytes uint64
	_        [16]uint64
}

// setPerm sets owner and permissions.
func (s *ipcSpace) setPerm(nr uintptr, p *specs.IPCPerm) error {
	return s.do(func() error { return setNow(nr, p, 0) })
}

// setNow sets owner and permissions, and the limit of a message queue (IPC_SET), on
// a thread that is in the namespace.
func setNow(nr uintptr, p *specs.IPCPerm, maxBytes uint64) error {
	status := ipcStatus{uid: p.UID, gid: p.GID, mode: p.Mode, maxBytes: maxBytes}
	if err := ipcControl(nr, p.ID, 0, ipcSet, unsafe.Pointer(&status)); err != nil {
		return fmt.Errorf("set owner and permissions: %w", err)
	}
	return nil
}

// ipcError names an object in an error.
func ipcError(what string, p *specs.IPCPerm, err error) error {
	return &Error{"restore", fmt.Sprintf("%s %d (key %#x)", what, p.ID, uint32(p.Key)), err}
}

// records gives the records of one type.
func records[T specs.Record](r *restorer) []T {
	var list []T
	for _, rec := range image.Each[T](r.img) {
		list = append(list, rec)
	}
	return list
}

package checkpoint

import (
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// System V objects belong to an IPC namespace and not to a task. Those of the
// container's own namespace are saved, all of them; with the host's namespace
// there is no telling whose they are, and a task that has one attached is refused.

// ipcNoWait is IPC_NOWAIT (include/uapi/linux/ipc.h).
const ipcNoWait = 0o4000

// sysv is what is known of the System V objects of the tree.
type sysv struct {
	// own tells that the tree has an IPC namespace of its own, listed that the
	// objects have been looked for.
	own, listed   bool
	shm, sem, msg []procfs.IPCObject
	// used is how many there are by the count of a task, if it was asked.
	used uint32
	// undo is what processes give back, by the id of the set.
	undo map[int32][]specs.SemUndo
}

// findSysV lists the objects of the container's own IPC namespace.
func (d *dump) findSysV() error {
	if d.sysv.listed || d.target.Host {
		return nil
	}
	var err error
	if d.sysv.own, err = d.ownNamespace("ipc"); err != nil || !d.sysv.own {
		return err
	}
	if d.inner.outside && d.sysv.used == 0 {
		return nil // or they have not been counted yet
	}
	d.sysv.listed = true
	return d.inside(func() error {
		var err error
		d.sysv.shm, d.sysv.sem, d.sysv.msg, err = procfs.ReadSysV()
		return err
	})
}

// Commands of shmctl(2) and the like that count objects, and where the number stands in the answers
// (struct shm_info, seminfo, msginfo of include/uapi/linux).
const (
	shmInfo, shmInfoUsed, shmInfoSize = 14, 0, 48
	semInfo, semInfoUsed, semInfoSize = 19, 7 * 4, 40
	msgInfo, msgInfoUsed, msgInfoSize = 12, 0, 32
)

// countSysV has a task count the objects of its namespace, which anybody may who is in it. It is asked
// where we are not let in.
func (d *dump) countSysV(q *inquiry) {
	count := func(at int) func(int64, []byte) {
		return func(ret int64, b []byte) {
			if ret >= 0 {
				d.sysv.used += word32(b[at:])
			}
		}
	}
	q.ask(shmInfoSize, count(shmInfoUsed), unix.SYS_SHMCTL, 0, shmInfo, out)
	q.ask(semInfoSize, count(semInfoUsed), unix.SYS_SEMCTL, 0, 0, semInfo, out)
	q.ask(msgInfoSize, count(msgInfoUsed), unix.SYS_MSGCTL, 0, msgInfo, out)
}

// ipcPerm is what an object has in common with the others.
func ipcPerm(o *procfs.IPCObject) specs.IPCPerm {
	return specs.IPCPerm{
		ID: o.ID, Key: o.Key, UID: o.UID, GID: o.GID, CUID: o.CUID, CGID: o.CGID, Mode: o.Mode & 0o777,
	}
}

// ipcControl is semctl(2) or msgctl(2): the system call nr with a pointer as last argument.
func ipcControl(nr uintptr, id int32, num, cmd int, arg unsafe.Pointer) (int, error) {
	args := [4]uintptr{uintptr(id), uintptr(num), uintptr(cmd), uintptr(arg)}
	if nr == unix.SYS_MSGCTL {
		args = [4]uintptr{uintptr(id), uintptr(cmd), uintptr(arg), 0}
	}
	n, _, errno := unix.Syscall6(nr, args[0], args[1], args[2], args[3], 0, 0)
	if errno != 0 {
		err := fmt.Errorf("command %d for System V object %d: %w", cmd, id, errno)
		return 0, kernel.NeedFor(err, "System V objects of all users can be read", unix.CAP_IPC_OWNER)
	}
	return int(n), nil
}

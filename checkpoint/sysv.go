package checkpoint

import (
	"fmt"
	"unsafe"

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
	d.sysv.listed = true
	return d.inside(func() error {
		var err error
		d.sysv.shm, d.sysv.sem, d.sysv.msg, err = procfs.ReadSysV()
		return err
	})
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
		return 0, fmt.Errorf("command %d for System V object %d: %w", cmd, id, errno)
	}
	return int(n), nil
}

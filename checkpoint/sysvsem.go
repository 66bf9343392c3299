package checkpoint

import (
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Commands of semctl(2) (include/uapi/linux/sem.h).
const (
	semGetPID = 11
	semGetAll = 13
)

// saveSysVSem saves every set of semaphores.
func saveSysVSem(d *dump) error {
	if err := d.findSysV(); err != nil {
		return err
	}
	for i := range d.sysv.sem {
		o := &d.sysv.sem[i]
		r := &specs.SysVSem{IPCPerm: ipcPerm(o), Undo: d.sysv.undo[o.ID]}
		err := d.inside(func() error {
			var err error
			if r.Values, err = semValues(o); err != nil {
				return err
			}
			r.PIDs, err = d.semPIDs(o)
			return err
		})
		if err != nil {
			return fmt.Errorf("save System V semaphores %d (key %#x): %w", o.ID, uint32(o.Key), err)
		}
		if err := d.out.Put(d.newID(), r); err != nil {
			return err
		}
	}
	return nil
}

// semValues reads the values of a set, in its IPC namespace.
func semValues(o *procfs.IPCObject) ([]uint16, error) {
	values := make([]uint16, o.Size)
	_, err := ipcControl(unix.SYS_SEMCTL, o.ID, 0, semGetAll, unsafe.Pointer(&values[0]))
	return values, err
}

// semPIDs tells which processes of the tree operated last on the semaphores.
func (d *dump) semPIDs(o *procfs.IPCObject) ([]int32, error) {
	pids := make([]int32, o.Size)
	known := false
	for i := range pids {
		host, err := ipcControl(unix.SYS_SEMCTL, o.ID, i, semGetPID, nil)
		if err != nil {
			return nil, err
		}
		for _, p := range d.live() {
			if p.pid == host {
				pids[i], known = int32(p.nspid), true
			}
		}
	}
	if !known {
		return nil, nil
	}
	return pids, nil
}

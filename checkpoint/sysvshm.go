package checkpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// saveSysVShm saves every segment of shared memory. The contents of one that a
// task has attached were saved with the task's memory; others are attached by us
// for a moment, which is seen in the segment's times and nowhere else.
func saveSysVShm(d *dump) error {
	if err := d.findSysV(); err != nil {
		return err
	}
	for i := range d.sysv.shm {
		if err := d.saveSegment(&d.sysv.shm[i]); err != nil {
			return fmt.Errorf("save System V shared memory %d (key %#x): %w", d.sysv.shm[i].ID, uint32(d.sysv.shm[i].Key), err)
		}
	}
	return nil
}

func (d *dump) saveSegment(o *procfs.IPCObject) error {
	object := d.shared.byInode[sharedKey{kind: "sysv", ino: uint64(o.ID)}]
	if object == nil {
		var err error
		if object, err = d.attachSegment(o); err != nil {
			return err
		}
	}
	r := &specs.SysVShm{
		IPCPerm: ipcPerm(o), Size: o.Size, Object: object.id,
		NameKey: object.key, Locked: o.Mode&procfs.IPCLocked != 0, Destroyed: o.Mode&procfs.IPCDest != 0,
	}
	return d.out.Put(d.newID(), r)
}

// nameKey is the key in the name of a segment, "/SYSV0052e2c1" (ipc/shm.c, newseg).
func nameKey(name string) int32 {
	key, err := strconv.ParseUint(strings.TrimPrefix(name, "/SYSV"), 16, 32)
	if err != nil {
		return 0
	}
	return int32(uint32(key))
}

// attachSegment saves the contents of a segment that no task has attached.
func (d *dump) attachSegment(o *procfs.IPCObject) (*sharedObject, error) {
	var addr uintptr
	err := d.inside(func() error {
		var errno unix.Errno
		addr, _, errno = unix.Syscall(unix.SYS_SHMAT, uintptr(o.ID), 0, unix.SHM_RDONLY)
		if errno != 0 {
			return fmt.Errorf("attach: %w", errno)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Addresses are the process's, whatever the thread.
	defer unix.Syscall(unix.SYS_SHMDT, addr, 0, 0)
	magic, err := attached(addr, uintptr(o.Size))
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	if err := unix.Stat(magic, &stat); err != nil {
		return nil, err
	}
	return d.sharedObject("sysv", magic, "", &stat)
}

// attached is the link in /proc to the segment that we have attached at addr: it
// ends at the end of a page, which may be a huge one.
func attached(addr, size uintptr) (string, error) {
	var err error
	for _, page := range []uintptr{pageSize, 2 << 20, 1 << 30} {
		name := fmt.Sprintf("/proc/self/map_files/%x-%x", addr, (addr+size+page-1)&^(page-1))
		if _, err = os.Lstat(name); err == nil {
			return name, nil
		}
	}
	return "", err
}

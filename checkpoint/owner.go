package checkpoint

import (
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// fownerEx is struct f_owner_ex (fcntl(2)).
type fownerEx struct{ kind, pid int32 }

// owner asks who gets SIGIO for a description (F_GETOWN_EX), and which signal.
func (d *dump) owner(f *openFile, base *specs.Description) error {
	if base.Flags&unix.O_PATH != 0 {
		return nil
	}
	own, err := f.dup()
	if err != nil {
		return err
	}
	var who fownerEx
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, own.Fd(), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&who))); errno != 0 {
		return errno
	}
	signal, err := unix.FcntlInt(own.Fd(), unix.F_GETSIG, 0)
	if err != nil {
		return err
	}
	base.Signal = int32(signal)
	if who.pid == 0 {
		return nil
	}
	inner, ok := d.innerOwner(who)
	if !ok && f.role >= 0 {
		// The other side's business: the fresh container's stdio has its own.
		return nil
	}
	if !ok {
		return f.unsupported("its signals go to a process outside the container", "set another owner (F_SETOWN) before the checkpoint")
	}
	base.OwnerType, base.Owner = who.kind+1, int32(inner)
	var uids [2]uint32
	const fGetOwnerUIDs = 17
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, own.Fd(), fGetOwnerUIDs, uintptr(unsafe.Pointer(&uids))); errno == 0 {
		base.OwnerUID, base.OwnerEUID = uids[0], uids[1]
	}
	return nil
}

// ownerGroup is F_OWNER_PGRP.
const ownerGroup = 2

// innerOwner turns the owner of a description, of whatever kind, into the tree's
// number; false if it is not in the tree.
func (d *dump) innerOwner(who fownerEx) (int, bool) {
	if who.kind != ownerGroup {
		return d.innerTask(int(who.pid))
	}
	for _, p := range d.procs {
		// The task that gave the group its number may be gone.
		if p.stat.PGRP == int(who.pid) {
			return last(p.status.NSpgid, p.stat.PGRP), true
		}
	}
	return 0, false
}

// innerPID turns a host's number of a task, thread or group into the tree's.
func (d *dump) innerPID(host int) (int, error) {
	for _, p := range d.procs {
		if p.pid == host {
			return p.nspid, nil
		}
		for _, th := range p.threads {
			if th.tid == host {
				return th.nstid, nil
			}
		}
	}
	status, err := procfs.ReadStatus(host)
	if err != nil {
		return 0, err
	}
	return last(status.NSpid, host), nil
}

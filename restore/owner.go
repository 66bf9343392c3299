package restore

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreOwners says of each description who gets its signals (F_SETOWN_EX and
// F_SETSIG of fcntl(2)), and that it is to send any (O_ASYNC). It comes when all tasks exist, and last of what is done
// with the files, so that nobody hears of what a restore does. We name the tasks by
// our own numbers: the kernel keeps the tasks, not the numbers.
func (r *restorer) restoreOwners() error {
	for id, rec := range r.descriptions() {
		base := rec.Base()
		f := r.files.open[id]
		async := base.Flags&unix.O_ASYNC != 0
		if f == nil || base.Flags&unix.O_PATH != 0 || (base.OwnerType == 0 && base.Signal == 0 && !async) {
			continue
		}
		if err := r.setOwner(f, base); err != nil {
			return &Error{"set owner", describe(id, rec), err}
		}
		if !async {
			continue
		}
		if err := r.setAsync(id, f); err != nil {
			return &Error{"set O_ASYNC", describe(id, rec), err}
		}
	}
	return nil
}

// setAsync has a description send signals. It is done in a task: the kernel tells
// in si_fd by which number O_ASYNC was set (fcntl(2), F_SETSIG).
func (r *restorer) setAsync(id specs.ID, f *os.File) error {
	now, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	want := now | unix.O_ASYNC
	if holders := r.files.holders[id]; len(holders) > 0 {
		_, err = r.call(holders[0].t, unix.SYS_FCNTL, uint64(holders[0].fd), unix.F_SETFL, uint64(want))
		return err
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, want)
	return err
}

// fownerEx is struct f_owner_ex (fcntl(2)).
type fownerEx struct{ kind, pid int32 }

// ownerGroup is F_OWNER_PGRP.
const ownerGroup = 2

func (r *restorer) setOwner(f *os.File, base *specs.Description) error {
	if base.Signal != 0 {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETSIG, int(base.Signal)); err != nil {
			return fmt.Errorf("signal %d: %w", base.Signal, err)
		}
	}
	if base.OwnerType == 0 {
		return nil
	}
	owner := fownerEx{kind: base.OwnerType - 1}
	var err error
	if owner.pid, err = r.hostOwner(owner.kind, base.Owner); err != nil {
		return err
	}
	set := func() error {
		if _, _, errno := unix.RawSyscall(unix.SYS_FCNTL, f.Fd(), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner))); errno != 0 {
			return fmt.Errorf("pid %d: %w", base.Owner, errno)
		}
		return nil
	}
	if base.OwnerUID == uint32(unix.Getuid()) && base.OwnerEUID == uint32(unix.Geteuid()) {
		return set()
	}
	return withUsers(base.OwnerUID, base.OwnerEUID, set)
}

// hostOwner gives our number of the task, thread or group that has number pid in
// the container.
func (r *restorer) hostOwner(kind, pid int32) (int32, error) {
	for _, t := range r.made {
		if kind == ownerGroup {
			if t.rec.PGID == pid {
				group, err := unix.Getpgid(t.pid)
				return int32(group), err
			}
			continue
		}
		if t.rec.PID == pid {
			return int32(t.pid), nil
		}
		for _, th := range t.threads {
			if th.rec != nil && th.rec.TID == pid && th.traced != nil {
				return int32(th.traced.TID), nil
			}
		}
	}
	return 0, fmt.Errorf("no task has pid %d", pid)
}

// withUsers runs f with other user ids: the kernel keeps those of the caller, and
// checks with them later whether the owner may be sent a signal (fs/fcntl.c,
// sigio_perm). User ids belong to a thread, which is thrown away afterwards.
func withUsers(uid, euid uint32, f func() error) error {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		// Raw calls, which know of this thread alone.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(euid), ^uintptr(0)); errno != 0 {
			done <- fmt.Errorf("become user %d: %w", uid, errno)
			return
		}
		done <- f()
	}()
	err = <-done
	if dumpable == 1 {
		// A change of user ids takes it away from the whole process.
		if derr := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err == nil {
			err = derr
		}
	}
	return err
}

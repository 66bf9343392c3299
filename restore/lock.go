package restore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// lockTakers is the table of who takes a lock of each class.
func lockTakers() map[string]func(*restorer, *specs.Lock) error {
	return map[string]func(*restorer, *specs.Lock) error{
		specs.LockPOSIX: (*restorer).lockPOSIX,
		specs.LockOFD:   (*restorer).lockOFD,
		specs.LockFlock: (*restorer).lockFlock,
		specs.LockLease: (*restorer).lease,
	}
}

// restoreLocks takes the locks again. It comes when nothing in a table of
// descriptors changes any more: the close of any descriptor of a file gives up all
// POSIX locks that the process has on it. It comes before credentials, which may
// not allow a lease that was taken earlier. The order does not matter, since all were held at
// once. Nobody waits for a lock yet who could come first: such calls are issued
// again when the tasks are released.
func (r *restorer) restoreLocks() error {
	takers := lockTakers()
	for _, l := range image.Each[*specs.Lock](r.img) {
		rec, err := get[specs.File](r, l.File)
		if err != nil {
			return err
		}
		take := takers[l.Class]
		if take == nil {
			err = fmt.Errorf("%w: locks of class %q are not known", ErrUnfit, l.Class)
		} else if err = take(r, l); errors.Is(err, unix.EAGAIN) {
			err = r.contended(l, err)
		}
		if err != nil {
			return &Error{"take " + l.Class + " lock", describe(l.File, rec), err}
		}
	}
	return nil
}

// lockHolder chooses who takes a lock: the task that took it, or another that has the
// description; nil if none of ours has it.
func (r *restorer) lockHolder(l *specs.Lock) *holder {
	var other *holder
	for i, h := range r.files.holders[l.File] {
		if h.t.ghost || h.t.rec.State == "zombie" || l.Table != 0 && h.t.rec.FDs != l.Table {
			continue
		}
		if h.t.rec.PID == l.PID {
			return &r.files.holders[l.File][i]
		}
		if other == nil {
			other = &r.files.holders[l.File][i]
		}
	}
	return other
}

// lockType is l_type of struct flock.
func lockType(l *specs.Lock) int16 {
	if l.Exclusive {
		return unix.F_WRLCK
	}
	return unix.F_RDLCK
}

// lockPOSIX takes a lock in a process that owns it.
func (r *restorer) lockPOSIX(l *specs.Lock) error {
	h := r.lockHolder(l)
	if h == nil {
		return fmt.Errorf("%w: no task has the descriptor", ErrUnfit)
	}
	data, at := h.t.arena.Data()
	clear(data[:32])
	// struct flock: type and whence (SEEK_SET) of 16 bits, start and length of 64.
	binary.NativeEndian.PutUint16(data, uint16(lockType(l)))
	binary.NativeEndian.PutUint64(data[8:], uint64(l.Start))
	binary.NativeEndian.PutUint64(data[16:], uint64(l.Length))
	_, err := r.call(h.t, unix.SYS_FCNTL, uint64(h.fd), unix.F_SETLK, at)
	return err
}

// lockOFD takes a lock of a description; who does it does not show.
func (r *restorer) lockOFD(l *specs.Lock) error {
	f := r.files.open[l.File]
	if f == nil {
		return fmt.Errorf("%w: no task has the descriptor", ErrUnfit)
	}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: lockType(l), Start: l.Start, Len: l.Length})
}

// lockFlock takes a lock of a description. The kernel tells everybody who took it: if
// that process has ended (as of the shell's "exec 9>file; flock 9") we take it, who
// end too.
func (r *restorer) lockFlock(l *specs.Lock) error {
	how := unix.LOCK_SH | unix.LOCK_NB
	if l.Exclusive {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	if h := r.lockHolder(l); h != nil && l.PID != 0 {
		_, err := r.call(h.t, unix.SYS_FLOCK, uint64(h.fd), uint64(how))
		return err
	}
	f := r.files.open[l.File]
	if f == nil {
		return fmt.Errorf("%w: no task has the descriptor", ErrUnfit)
	}
	return unix.Flock(int(f.Fd()), how)
}

// lease takes a lease, in a task: that one is told when it is broken, unless
// F_SETOWN has said otherwise, which is for restoreOwners.
func (r *restorer) lease(l *specs.Lock) error {
	h := r.lockHolder(l)
	if h == nil {
		return fmt.Errorf("%w: no task has the descriptor", ErrUnfit)
	}
	rec, err := get[specs.File](r, l.File)
	if err != nil {
		return err
	}
	if _, err := r.call(h.t, unix.SYS_FCNTL, uint64(h.fd), unix.F_SETLEASE, uint64(lockType(l))); err != nil {
		return err
	}
	if rec.Base().OwnerType == 0 {
		_, err = r.call(h.t, unix.SYS_FCNTL, uint64(h.fd), unix.F_SETOWN, 0)
	}
	return err
}

package restore

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// ErrLocked means that somebody else has locked a file that a task of the image had
// locked.
var ErrLocked = errors.New("file is locked")

// endOthers is what can be done about the locks of others.
const endOthers = "end it, or restore with files of its own"

// checkLeases refuses to go on if somebody has a lease on a file that a task of the
// image had one on. It comes before any file is opened: the open itself would break the other's
// lease, and might wait for that (/proc/sys/fs/lease-break-time).
func (r *restorer) checkLeases() error {
	leased := map[string]*unix.Stat_t{}
	err := r.within(func() error {
		for _, l := range image.Each[*specs.Lock](r.img) {
			if l.Class != specs.LockLease {
				continue
			}
			rec, err := get[specs.File](r, l.File)
			if err != nil {
				return err
			}
			var stat unix.Stat_t
			// What cannot be found the open that follows tells.
			if f, ok := rec.(*specs.Regular); ok && unix.Lstat(f.Path, &stat) == nil {
				leased[f.Path] = &stat
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for path, stat := range leased {
		other, err := otherLock(stat, func(o *procfs.Lock) bool { return o.Class == "LEASE" })
		if err == nil && other != "" {
			err = fmt.Errorf("%w by a lease of %s; %s", ErrLocked, other, endOthers)
		}
		if err != nil {
			return &Error{"take lease lock", path, err}
		}
	}
	return nil
}

// contended says who is in the way of a lock.
func (r *restorer) contended(l *specs.Lock, cause error) error {
	if l.Class == specs.LockLease {
		return fmt.Errorf("%w: others have opened it, which the lease forbids; %s: %w", ErrLocked, endOthers, cause)
	}
	var stat unix.Stat_t
	f := r.files.open[l.File]
	if f == nil || unix.Fstat(int(f.Fd()), &stat) != nil {
		return fmt.Errorf("%w by somebody else: %w", ErrLocked, cause)
	}
	other, err := otherLock(&stat, func(o *procfs.Lock) bool {
		return o.Class != "LEASE" && (o.Class == "FLOCK") == (l.Class == specs.LockFlock) && !r.ownPID(o.PID)
	})
	if err != nil || other == "" {
		other = "somebody else"
	}
	return fmt.Errorf("%w by %s; %s: %w", ErrLocked, other, endOthers, cause)
}

// otherLock names who holds a lock on a file, "" if nobody does. It must not be called
// inside the container, whose /proc shows the locks of its own tasks alone. Devices of
// some filesystems (btrfs, overlay) have another number in /proc/locks than in stat(2).
func otherLock(stat *unix.Stat_t, wanted func(*procfs.Lock) bool) (string, error) {
	list, err := procfs.ReadLocks()
	if err != nil {
		return "", err
	}
	found := ""
	for i := range list {
		o := &list[i]
		device := unix.Mkdev(o.Major, o.Minor)
		if o.Blocked || o.Inode != stat.Ino || device != stat.Dev && o.Major != 0 || !wanted(o) {
			continue
		}
		if of, err := procfs.ReadStat(o.PID); err == nil {
			return fmt.Sprintf("process %d (%s) of the host", o.PID, of.Comm), nil
		}
		found = "somebody else"
	}
	return found, nil
}

// ownPID tells whether a number of the host is that of a task of ours.
func (r *restorer) ownPID(pid int) bool {
	for _, t := range r.made {
		if t.pid == pid {
			return true
		}
	}
	return false
}

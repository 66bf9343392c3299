package checkpoint

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Locks are read from fdinfo, which shows each under the descriptors of the
// description by which it was taken, and a POSIX lock only to those who own it: so
// what others hold on the same file, outside of the tree, is never seen.

// locks are those that the tree holds.
type locks struct {
	held []*heldLock
	seen map[lockKey]bool
	// mapped are the files that are mapped in the tree, by what maps and locks
	// call them.
	mapped map[fileNumber]mapping
	// mappers are who has mapped files to be shared, hidden the locks that such areas keep.
	mappers map[mapper]bool
	hidden  map[mapper]procfs.Lock
	// sharing tells that one of them is mapped to be shared.
	sharing bool
}

// heldLock is one lock.
type heldLock struct {
	procfs.Lock
	// file is the description, at a descriptor of it under which the lock is
	// shown: for a POSIX lock one of its owner.
	file, at *openFile
}

// lockKey is what a lock that shows under several descriptors has in common.
type lockKey struct {
	file  *openFile
	owner *process
	lock  procfs.Lock
}

// lockClass is how a class of locks is saved.
type lockClass struct {
	// record is its name in the image, mode what the kernel calls one that
	// nobody contests.
	record, mode string
	// refuse, if not nil, says why one cannot be saved.
	refuse func(d *dump, l *heldLock) error
}

// lockClasses is the table of savers by the name in fdinfo (proc_locks(5)).
func lockClasses() map[string]lockClass {
	return map[string]lockClass{
		"POSIX":  {specs.LockPOSIX, "ADVISORY", nil},
		"OFDLCK": {specs.LockOFD, "ADVISORY", nil},
		"FLOCK":  {specs.LockFlock, "ADVISORY", nil},
		"LEASE":  {specs.LockLease, "ACTIVE", (*dump).refuseLease},
	}
}

// noteLocks keeps the locks that show under the descriptor at, which leads to the
// description f.
func (d *dump) noteLocks(at, f *openFile) {
	for _, l := range at.info.Locks {
		l.ID = 0
		key := lockKey{file: f, lock: l}
		if l.Class == "POSIX" {
			key.owner = at.proc
		}
		if d.locks.seen == nil {
			d.locks.seen = map[lockKey]bool{}
		}
		if !d.locks.seen[key] {
			d.locks.seen[key] = true
			d.locks.held = append(d.locks.held, &heldLock{l, f, at})
		}
	}
}

func (l *heldLock) number() fileNumber { return fileNumber{l.Major, l.Minor, l.Inode} }

// String describes a lock: "an exclusive POSIX lock (bytes 0 to 9)".
func (l *heldLock) String() string {
	kind := "a shared "
	if l.Type == "WRITE" {
		kind = "an exclusive "
	}
	switch l.Class {
	case "LEASE":
		return kind + "lease"
	case "FLOCK":
		return kind + "flock(2) lock"
	}
	kind += map[string]string{"POSIX": "POSIX", "OFDLCK": "OFD"}[l.Class] + " lock"
	if l.End == procfs.LockEOF {
		return fmt.Sprintf("%s (bytes %d to the end)", kind, l.Start)
	}
	return fmt.Sprintf("%s (bytes %d to %d)", kind, l.Start, l.End)
}

// unsupported makes an error about the lock.
func (l *heldLock) unsupported(reason, remedy string) error {
	return l.at.unsupported("holds "+l.String()+reason, remedy)
}

// refuseLock says why a lock cannot be saved.
func (d *dump) refuseLock(l *heldLock) error {
	const release = "release the lock before the checkpoint"
	class, known := lockClasses()[l.Class]
	if !known {
		return l.at.unsupported(fmt.Sprintf("holds a lock of a class that is not known (%s)", l.Class), release)
	}
	if l.Mode != class.mode || l.Type != "READ" && l.Type != "WRITE" {
		return l.unsupported(" that is being taken away ("+l.Mode+")", "wait until its holder has given it up")
	}
	if !d.opts.FileLocks {
		return l.unsupported("", "checkpoint with --file-locks, or release the lock before the checkpoint")
	}
	if l.file.role >= 0 && l.Class != "POSIX" && d.byPID(l.PID) == nil {
		return l.unsupported(" on what leads out of the container, and which task has taken it cannot be seen", release)
	}
	if class.refuse != nil {
		return class.refuse(d, l)
	}
	return nil
}

// refuseLease refuses leases that the saving itself, or the restoring, would break:
// an exclusive one is broken by any open of the file (F_SETLEASE of fcntl(2)).
func (d *dump) refuseLease(l *heldLock) error {
	const remedy = "give the lease up before the checkpoint"
	f := l.file
	_, mapped := d.locks.mapped[l.number()]
	mount := d.mounts.byID[f.info.MntID]
	switch {
	case f.stat.Mode&unix.S_IFMT != unix.S_IFREG || f.stat.Nlink == 0 || mount == nil:
		return l.unsupported(" on a file without a name", remedy)
	case l.Type == "WRITE" && mapped:
		return l.unsupported(" on a file that is mapped", remedy)
	case l.Type == "WRITE" && mount.FSType == "tmpfs" && !d.target.Host && !d.hostOwns(mount):
		return l.unsupported(" on a tmpfs, whose files are read for the image", remedy)
	}
	return nil
}

// foreign tells whether a lock belongs to somebody outside of the tree, who shares
// the description with it: what a runtime gave as stdin, stdout or stderr.
func (d *dump) foreign(l *heldLock) bool {
	if l.file.role < 0 || l.Class != "FLOCK" || d.byPID(l.PID) != nil {
		return false
	}
	_, err := procfs.ReadStat(l.PID)
	return err == nil
}

// byPID finds a process by its host number.
func (d *dump) byPID(pid int) *process {
	for _, p := range d.procs {
		if p.pid == pid {
			return p
		}
	}
	return nil
}

// checkLocks finds the locks that cannot be saved. While tasks run those that have
// been released meanwhile are passed over.
func (d *dump) checkLocks() []error {
	var problems []error
	for _, l := range d.locks.held {
		if d.foreign(l) {
			continue
		}
		if err := d.refuseLock(l); err != nil && l.still() {
			problems = append(problems, err)
		}
	}
	return problems
}

// still tells whether the lock is held yet.
func (l *heldLock) still() bool {
	info, err := procfs.ReadFDInfo(l.at.proc.at, l.at.fd)
	return err == nil && l.among(info.Locks)
}

func (l *heldLock) among(list []procfs.Lock) bool {
	for _, other := range list {
		if other.ID = 0; other == l.Lock {
			return true
		}
	}
	return false
}

// saveLocks writes the locks of all descriptions, those in flight too.
func (d *dump) saveLocks() error {
	for _, f := range d.files.all {
		if f.flight {
			d.noteLocks(f, f)
		}
	}
	if problems := append(d.checkLocks(), d.checkHiddenLocks()...); len(problems) > 0 {
		return errors.Join(problems...)
	}
	for _, l := range d.locks.held {
		if d.foreign(l) {
			continue
		}
		if err := d.out.Put(0, d.lockRecord(l)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) lockRecord(l *heldLock) *specs.Lock {
	r := &specs.Lock{Class: lockClasses()[l.Class].record, File: l.file.id, Exclusive: l.Type == "WRITE"}
	if r.Class == specs.LockPOSIX {
		r.Table = l.at.proc.fds
	}
	if p := d.byPID(l.PID); p != nil {
		r.PID = int32(p.nspid)
	}
	if l.Start != 0 || l.End != procfs.LockEOF {
		r.Start = l.Start
		if l.End != procfs.LockEOF {
			r.Length = l.End - l.Start + 1
		}
	}
	return r
}

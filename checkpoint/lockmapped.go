package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// fileNumber is a file as the kernel's own lists name it. Device and inode may differ
// from those of stat(2).
type fileNumber struct {
	major, minor uint32
	inode        uint64
}

// mapping is an area of a process.
type mapping struct {
	proc *process
	area procfs.VMA
}

// mapper is a process that has mapped a file to be shared.
type mapper struct {
	file fileNumber
	pid  int
}

// noteMapped keeps which files a process has mapped.
func (d *dump) noteMapped(p *process, areas []procfs.VMA) {
	if d.locks.mapped == nil {
		d.locks.mapped, d.locks.mappers = map[fileNumber]mapping{}, map[mapper]bool{}
	}
	for _, a := range areas {
		if a.Inode != 0 {
			d.locks.mapped[fileNumber{a.Major, a.Minor, a.Inode}] = mapping{p, a}
			d.locks.sharing = d.locks.sharing || a.Shared && !a.Deleted
			if a.Shared {
				d.locks.mappers[mapper{fileNumber{a.Major, a.Minor, a.Inode}, p.pid}] = true
			}
		}
	}
}

// checkHiddenLocks finds flock(2) locks of the tree that no descriptor shows: a
// mapping keeps the description, and the lock with it, when all its descriptors
// are closed (a JVM has one on its hsperfdata). They are saved with the area, if it is the
// taker's. Nobody is asked for --file-locks, for whom could the user ask to release them? Only where files with names are mapped to be shared: to list all locks of the machine the kernel
// waits for all processors, some 10 ms (locks_start, an RCU grace period), and nobody
// locks what he maps for himself, programs and libraries.
func (d *dump) checkHiddenLocks() []error {
	if !d.locks.sharing {
		return nil
	}
	list, err := procfs.ReadLocks()
	if err != nil {
		d.log.WithError(err).Warn("locks that only a mapping keeps cannot be looked for")
		return nil
	}
	var problems []error
	for _, l := range list {
		l.ID = 0
		area, mapped := d.locks.mapped[fileNumber{l.Major, l.Minor, l.Inode}]
		p := d.byPID(l.PID)
		if l.Blocked || l.Class != "FLOCK" || !mapped || p == nil || d.shows(l) {
			continue
		}
		if m := (mapper{fileNumber{l.Major, l.Minor, l.Inode}, p.pid}); d.locks.mappers[m] {
			if d.locks.hidden == nil {
				d.locks.hidden = map[mapper]procfs.Lock{}
			}
			d.locks.hidden[m] = l
			continue
		}
		problems = append(problems, area.proc.unsupported(areaName(&area.area),
			fmt.Sprintf("a flock(2) lock on the file is held by the mapping alone, since its descriptor is closed (taken by task %d)", p.nspid),
			"unmap the file before the checkpoint"))
	}
	return problems
}

// shows tells whether a descriptor of the tree shows a lock: one that was noted, or
// one that came while we looked.
func (d *dump) shows(l procfs.Lock) bool {
	h := &heldLock{Lock: l}
	for _, noted := range d.locks.held {
		if noted.Lock == l {
			return true
		}
	}
	for _, p := range d.live() {
		fds, err := procfs.ListFDs(p.at)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if info, err := procfs.ReadFDInfo(p.at, fd); err == nil && h.among(info.Locks) {
				return true
			}
		}
	}
	return false
}

// hiddenLock is the lock that an area keeps: LOCK_SH or LOCK_EX of flock(2), 0 for none.
func (d *dump) hiddenLock(p *process, v *procfs.VMA) uint32 {
	l, kept := d.locks.hidden[mapper{fileNumber{v.Major, v.Minor, v.Inode}, p.pid}]
	switch {
	case !kept || !v.Shared:
		return 0
	case l.Type == "WRITE":
		return unix.LOCK_EX
	}
	return unix.LOCK_SH
}

package checkpoint

import (
	"slices"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// stdioKind saves what leads out of the container to what the runtime gave its
// process: only the role is kept, the fresh container has its own.
func stdioKind() fileKind {
	return fileKind{
		name: "standard input and output",
		is:   func(f *openFile) bool { return f.role >= 0 },
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			return &specs.Stdio{
				Description: base, Role: int32(f.role), Was: f.link, Again: f.again,
				Mode: f.stat.Mode, Dev: f.stat.Dev, Ino: f.stat.Ino,
			}, nil
		},
	}
}

// findRoles marks the descriptions that are the container's stdio, in this order:
//
//  1. those at 0, 1 and 2 of init that lead out of the container. One that
//     several of the three share has the role of the first;
//  2. those that the engine says it gave to init: a program may have moved them
//     or left them to its children;
//  3. those at 0, 1 and 2 of tasks that entered from outside (runc exec). They
//     led to somebody who is gone at a restore: the container's own of the same
//     number take their place. A shell moves them aside for a while: the access
//     mode tells then which it is;
//  4. others of the same file, made by an open of /dev/stdout or the like.
//
// The console of a container is no stdio but a terminal (terminal.go), which can be
// opened again by its name.
func (d *dump) findRoles() {
	d.findTerminals()
	roles := roleMap{d: d, byInode: map[[2]uint64]int{}}
	for _, entered := range []bool{false, true} {
		for _, p := range d.live() {
			if p.parent != nil || entered == (p.pid == d.target.Init) {
				continue
			}
			for fd := range 3 {
				if f := p.files[fd]; f != nil {
					roles.mark(f, fd)
				} else if f, err := d.look(p, fd); err == nil {
					roles.mark(d.files.find(f), fd)
				}
			}
		}
		if !entered {
			roles.markGiven()
		} else {
			roles.markMoved()
		}
	}
	for _, f := range d.files.all {
		if role, ok := roles.byInode[[2]uint64{f.stat.Dev, f.stat.Ino}]; ok && f.role < 0 {
			roles.mark(f, role)
			f.again = f.role >= 0
		}
	}
}

// roleMap gives out roles and keeps which file has which.
type roleMap struct {
	d       *dump
	byInode map[[2]uint64]int
}

func (m *roleMap) mark(f *openFile, role int) {
	if f.role >= 0 || !m.d.outside(f) {
		return
	}
	f.role = role
	key := [2]uint64{f.stat.Dev, f.stat.Ino}
	if _, ok := m.byInode[key]; !ok {
		m.byInode[key] = role
	}
}

// markGiven marks what the engine has given to init, wherever it is now. Of
// several descriptions of one file, such as two opens of a log, the first that fits
// the access mode is taken for the one that was given: which it was is not seen.
func (m *roleMap) markGiven() {
	given := m.d.target.Stdio
	for _, f := range m.d.files.all {
		role := slices.Index(given, f.link)
		if _, known := m.byInode[[2]uint64{f.stat.Dev, f.stat.Ino}]; role < 0 || known {
			continue
		}
		if role == 0 && f.info.Flags&unix.O_ACCMODE == unix.O_WRONLY {
			if out := slices.Index(given[1:], f.link); out >= 0 {
				role = out + 1
			}
		}
		m.mark(f, role)
	}
}

// markMoved marks pipes that lead out of the container and that tasks which
// entered from outside have elsewhere than at 0, 1 and 2.
func (m *roleMap) markMoved() {
	for _, f := range m.d.files.all {
		if f.role >= 0 || f.flight || !f.isPipe() || !m.d.entered(f.proc) {
			continue
		}
		role := 1
		switch {
		case f.info.Flags&unix.O_ACCMODE == unix.O_RDONLY:
			role = 0
		case m.has(f.proc, 1):
			role = 2
		}
		m.mark(f, role)
	}
}

// has tells whether a descriptor of a process has its own role.
func (m *roleMap) has(p *process, fd int) bool {
	f, err := m.d.look(p, fd)
	return err == nil && m.d.files.find(f).role == fd
}

// entered tells whether a process or one above it came from outside.
func (d *dump) entered(p *process) bool {
	for p.parent != nil {
		p = p.parent
	}
	return p.pid != d.target.Init
}

// outside tells whether a file's other end is not in the container.
func (d *dump) outside(f *openFile) bool {
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		if d.target.Host && isSlave(f.device()) {
			// A tree of the host sees all terminals: its own are those whose
			// master it has.
			p := d.ptys[int32(f.device()[1])]
			return p != nil && p.master == nil
		}
		return !d.mounts.inside(f.info.MntID)
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
		return !d.mounts.inside(f.info.MntID)
	case unix.S_IFIFO:
		// A program may have opened the other end of a pipe of the runtime's, by
		// way of /dev/stdout.
		return !d.mounts.inside(f.info.MntID) && (slices.Contains(d.target.Stdio, f.link) || !d.bothEnds(f))
	case unix.S_IFSOCK:
		return d.peerOutside(f)
	}
	return false
}

// bothEnds tells whether a pipe has a reader and a writer within the tree.
func (d *dump) bothEnds(f *openFile) bool {
	var reads, writes bool
	for _, o := range d.files.all {
		if o.stat.Dev == f.stat.Dev && o.stat.Ino == f.stat.Ino {
			mode := o.info.Flags & unix.O_ACCMODE
			reads = reads || mode != unix.O_WRONLY
			writes = writes || mode != unix.O_RDONLY
		}
	}
	return reads && writes
}

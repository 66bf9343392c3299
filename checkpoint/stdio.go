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
			return &specs.Stdio{Description: base, Role: int32(f.role), Was: f.link}, nil
		},
	}
}

// findRoles marks the descriptions that are the container's stdio: those at 0, 1
// and 2 of init, and of tasks that entered from outside, which lead out of the container, and
// others of the same file.
func (d *dump) findRoles() {
	roles := map[[2]uint64]int{}
	mark := func(f *openFile, role int) {
		if f.role < 0 && d.outside(f) {
			f.role = role
			roles[[2]uint64{f.stat.Dev, f.stat.Ino}] = role
		}
	}
	for _, f := range d.files.all {
		if i := slices.Index(d.target.Stdio, f.link); i >= 0 {
			mark(f, d.roleOf(f, i))
		}
	}
	for _, p := range d.live() {
		if p.parent != nil {
			continue
		}
		for fd := range 3 {
			if f, err := d.look(p, fd); err == nil {
				mark(d.files.find(f), fd)
			}
		}
	}
	for _, f := range d.files.all {
		if role, ok := roles[[2]uint64{f.stat.Dev, f.stat.Ino}]; ok {
			mark(f, role)
		}
	}
}

// roleOf prefers, among several descriptors that lead to the same file, the one
// that fits the access mode.
func (d *dump) roleOf(f *openFile, first int) int {
	if f.proc.parent == nil && f.fd < 3 {
		return f.fd
	}
	if first == 0 && f.info.Flags&unix.O_ACCMODE == unix.O_WRONLY && slices.Contains(d.target.Stdio[1:], f.link) {
		return 1
	}
	return first
}

// outside tells whether a file's other end is not in the container.
func (d *dump) outside(f *openFile) bool {
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK:
		return !d.mounts.inside(f.info.MntID)
	case unix.S_IFIFO:
		return d.mounts.inside(f.info.MntID) == false && !d.bothEnds(f)
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

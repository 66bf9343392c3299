package checkpoint

import (
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// sharedObjects are the objects of shared memory by their inode.
type sharedObjects struct {
	byInode map[inodeKey]*sharedObject
	list    []*sharedObject
}

// sharedObject is memory that several tasks may map: shared anonymous memory,
// a memfd, a SysV segment.
type sharedObject struct {
	id     specs.ID
	record *specs.Shared
	// magic is a link in /proc that opens it.
	magic string
}

// sharedKind tells which kind of shared memory an area maps, "" for a file. All
// are files without a name on the kernel's own tmpfs mount (mm/shmem.c, ipc/shm.c).
func sharedKind(v *procfs.VMA) string {
	switch {
	case strings.HasPrefix(v.Path, "/dev/zero") && v.Deleted && v.Shared, strings.HasPrefix(v.Path, "[anon_shmem:"):
		return "anonymous"
	case strings.HasPrefix(v.Path, "/memfd:"):
		return "memfd"
	case strings.HasPrefix(v.Path, "/SYSV") && v.Deleted:
		return "sysv"
	}
	return ""
}

// sharedArea completes the record of an area of shared memory.
func (d *dump) sharedArea(p *process, v *procfs.VMA, a *specs.Area, kind, magic string, stat *unix.Stat_t) error {
	name := v.Path
	if kind == "sysv" {
		// The inode of a segment is its identifier (ipc/shm.c, newseg).
		a.Shmid = int32(stat.Ino) + 1
	}
	o, err := d.sharedObject(magic, name, stat)
	if err != nil {
		return &Error{"save " + areaName(v), p.nspid, err}
	}
	a.File = o.id
	return nil
}

// sharedObject gives the object of an inode, which is written once.
func (d *dump) sharedObject(magic, name string, stat *unix.Stat_t) (*sharedObject, error) {
	key := inodeKey{dev: stat.Dev, ino: stat.Ino}
	if o := d.shared.byInode[key]; o != nil {
		return o, nil
	}
	o := &sharedObject{id: d.newID(), magic: magic, record: &specs.Shared{Size: uint64(stat.Size), Name: name}}
	f, err := os.Open(magic)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if o.record.Pages, err = d.data.file(f, stat.Size); err != nil {
		return nil, err
	}
	if d.shared.byInode == nil {
		d.shared.byInode = map[inodeKey]*sharedObject{}
	}
	d.shared.byInode[key] = o
	d.shared.list = append(d.shared.list, o)
	return o, nil
}

// putShared writes the records of all objects.
func (d *dump) putShared() error {
	for _, o := range d.shared.list {
		if err := d.out.Put(o.id, o.record); err != nil {
			return err
		}
	}
	return nil
}

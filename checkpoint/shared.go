package checkpoint

import (
	"fmt"
	"math/bits"
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// hugeAnonymous is how the kernel calls the file behind an anonymous mapping of
// huge pages (mm/hugetlb.c, fs/hugetlbfs/inode.c).
const hugeAnonymous = "/anon_hugepage"

// sharedObjects are the objects of shared memory by their inode.
type sharedObjects struct {
	byInode map[sharedKey]*sharedObject
	list    []*sharedObject
}

// sharedKey identifies an object. Inodes of System V segments have the numbers of
// the segments (ipc/shm.c, newseg), on the filesystem of all others.
type sharedKey struct {
	kind     string
	dev, ino uint64
}

// sharedObject is memory that several tasks may map: shared anonymous memory,
// a memfd, a SysV segment.
type sharedObject struct {
	id     specs.ID
	record *specs.Shared
	// key is that in the name of a System V segment.
	key int32
	// original tells that a description is taken for the one that
	// memfd_create(2) made.
	original bool
}

// sharedKind tells which kind of shared memory an area maps, "" for a file. All
// are files without a name on the kernel's own tmpfs mount (mm/shmem.c, ipc/shm.c).
func sharedKind(v *procfs.VMA) string {
	switch {
	case v.Path == "/dev/zero" && v.Deleted && v.Shared, v.Path == hugeAnonymous && v.Deleted && v.Shared, strings.HasPrefix(v.Path, "[anon_shmem:"):
		return "anonymous"
	case strings.HasPrefix(v.Path, memfdPrefix) && v.Deleted:
		return "memfd"
	case strings.HasPrefix(v.Path, "/SYSV") && v.Deleted:
		return "sysv"
	}
	return ""
}

// refuseShared refuses memory that could not be shared again.
func (d *dump) refuseShared(p *process, v *procfs.VMA) error {
	if v.Path == secretLink && v.Deleted {
		return p.unsupported(areaName(v), "is secret memory (memfd_secret), which nobody but its owner can read", "unmap it before the checkpoint")
	}
	if sharedKind(v) == "sysv" && !d.sysv.own {
		return p.unsupported(areaName(v), fmt.Sprintf("is System V shared memory %d of the host's IPC namespace", v.Inode),
			"detach it, or give the container an IPC namespace of its own")
	}
	return nil
}

// sharedArea completes the record of an area of shared memory.
func (d *dump) sharedArea(p *process, v *procfs.VMA, a *specs.Area, kind, magic string, stat *unix.Stat_t) error {
	if kind == "sysv" {
		a.Shmid = int32(stat.Ino) + 1
	}
	if err := d.refuseShared(p, v); err != nil {
		return err
	}
	a.ReadOnly = v.Shared && !v.Has("mw")
	link := v.Path
	if kind == "memfd" {
		// maps has a line feed in another form.
		var err error
		if link, err = procfs.Readlink(p.at, fmt.Sprintf("map_files/%x-%x", v.Start, v.End)); err != nil {
			return err
		}
	}
	o, err := d.sharedObject(kind, magic, link, stat)
	if err != nil {
		return &Error{"save " + areaName(v), p.nspid, err}
	}
	a.File = o.id
	return nil
}

// sharedObject gives the object of an inode, which is written once. magic is a
// link in /proc that opens it, link the name that maps shows.
func (d *dump) sharedObject(kind, magic, link string, stat *unix.Stat_t) (*sharedObject, error) {
	key := sharedKey{kind, stat.Dev, stat.Ino}
	if kind == "sysv" {
		key.dev = 0
	}
	if o := d.shared.byInode[key]; o != nil {
		return o, nil
	}
	o := &sharedObject{id: d.newID(), record: &specs.Shared{Size: uint64(stat.Size), Kind: kind}}
	f, err := os.OpenFile(magic, unix.O_RDONLY|unix.O_NOATIME, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if o.record.HugePage, err = hugePage(f); err != nil {
		return nil, err
	}
	if kind == "sysv" {
		o.key = nameKey(link)
	}
	if kind == "memfd" {
		if err := describeMemfd(o.record, f, link, stat); err != nil {
			return nil, err
		}
	}
	if o.record.Pages, err = d.data.file(f, stat.Size); err != nil {
		return nil, err
	}
	const block = 512 // st_blocks counts in these (stat(2))
	o.record.Full = stat.Size > 0 && stat.Blocks*block >= stat.Size && countPages(o.record.Pages)*pageSize < uint64(stat.Size)
	if d.shared.byInode == nil {
		d.shared.byInode = map[sharedKey]*sharedObject{}
	}
	d.shared.byInode[key] = o
	d.shared.list = append(d.shared.list, o)
	return o, nil
}

// hugePage is log2 of the page size of a file on hugetlbfs, 0 for others.
func hugePage(f *os.File) (uint32, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return 0, err
	}
	if fs.Type != unix.HUGETLBFS_MAGIC {
		return 0, nil
	}
	return uint32(bits.Len64(uint64(fs.Bsize)) - 1), nil
}

func countPages(extents []specs.Extent) (n uint64) {
	for _, e := range extents {
		n += e.Count
	}
	return n
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

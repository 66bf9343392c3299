package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inodeKey identifies a file by its inode.
type inodeKey struct {
	dev, ino uint64
	write    bool
}

// deletedSuffix is what the kernel appends to the path of a file without a name.
const deletedSuffix = " (deleted)"

func regularKind() fileKind {
	return fileKind{
		name: "regular file",
		is: func(f *openFile) bool {
			return f.stat.Mode&unix.S_IFMT == unix.S_IFREG && strings.HasPrefix(f.link, "/")
		},
		refuse: refuseRegular,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			r, err := d.regular(f.path(), f.link, &f.stat, base.Flags)
			if err != nil {
				return nil, err
			}
			r.Description = base
			return r, nil
		},
	}
}

func refuseRegular(d *dump, f *openFile) error {
	if !d.mounts.inside(f.info.MntID) {
		return f.unsupported("leads to a file outside the container", "close it, or start the container with the file mounted")
	}
	return refuseLost(d, f)
}

// refuseLost refuses a file that has a name, but not the one by which it was
// opened and none that can be found.
func refuseLost(d *dump, f *openFile) error {
	if f.stat.Nlink == 0 {
		return nil
	}
	if there, err := d.reaches(f.link, &f.stat); err != nil {
		return &Error{"look at " + f.name(), f.proc.nspid, err}
	} else if !there && d.otherName(f.link, &f.stat) == "" {
		return f.unsupported("its path leads to another file now", "reopen it before the checkpoint")
	}
	return nil
}

// nowhere are the errors of a path that leads to nothing. All others tell nothing of where it leads.
var nowhere = []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EXDEV, unix.EACCES}

// reach is a path, seen from the tree's root, and a file that it may lead to.
type reach struct {
	path     string
	dev, ino uint64
}

// reaches tells whether path, seen from the tree's root, leads to the file. While everything stands still each
// is looked at once.
func (d *dump) reaches(path string, stat *unix.Stat_t) (bool, error) {
	if d.stopped == (moment{}) {
		return d.leads(path, stat)
	}
	key := reach{path, stat.Dev, stat.Ino}
	d.mu.Lock()
	there, known := d.reached[key]
	d.mu.Unlock()
	if known {
		return there, nil
	}
	there, err := d.leads(path, stat)
	if err == nil {
		d.mu.Lock()
		d.reached[key] = there
		d.mu.Unlock()
	}
	return there, err
}

// leads is reaches without a memory.
func (d *dump) leads(path string, stat *unix.Stat_t) (bool, error) {
	fd, err := d.inRoot(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if slices.ContainsFunc(nowhere, func(none error) bool { return errors.Is(err, none) }) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "look at", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var there unix.Stat_t
	if err := unix.Fstat(fd, &there); err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return there.Ino == stat.Ino && there.Dev == stat.Dev, nil
}

// regular makes the record of a regular file that is reached through magic, a
// link in /proc; link is where that leads.
// flags are those of the description, 0 for a file that is only mapped.
func (d *dump) regular(magic, link string, stat *unix.Stat_t, flags uint32) (*specs.Regular, error) {
	r := &specs.Regular{Path: link, Size: stat.Size, Mtime: stat.Mtim.Nano(), Mode: stat.Mode}
	if stat.Nlink > 0 {
		if there, err := d.reaches(link, stat); there || err != nil {
			return r, err
		}
	}
	r.Path = strings.TrimSuffix(link, deletedSuffix)
	if stat.Nlink > 0 {
		if r.Link = d.otherName(link, stat); r.Link == "" {
			return nil, fmt.Errorf("%s: its path leads to another file now; reopen it before the checkpoint", link)
		}
		return r, nil
	}
	var err error
	r.Ghost, err = d.ghost(magic, r.Path, stat, flags)
	return r, err
}

// ghost saves a file without a name, once.
func (d *dump) ghost(magic, path string, stat *unix.Stat_t, flags uint32) (specs.ID, error) {
	key := inodeKey{dev: stat.Dev, ino: stat.Ino}
	if id := d.files.ghosts[key]; id != 0 {
		return id, nil
	}
	g := &specs.Ghost{
		Path: path, Mode: stat.Mode, UID: stat.Uid, GID: stat.Gid, Size: stat.Size,
		Mtime: stat.Mtim.Nano(), Atime: stat.Atim.Nano(),
	}
	if flags&unix.O_TMPFILE == unix.O_TMPFILE {
		g.TmpFlags = flags
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFREG {
		f, err := os.Open(magic)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if g.Pages, err = d.data.file(f, stat.Size); err != nil {
			return 0, err
		}
	}
	id := d.newID()
	d.files.ghosts[key] = id
	return id, d.out.Put(id, g)
}

// inode gives the record of a file that is mapped or executed and that no
// descriptor need lead to.
func (d *dump) inode(magic, link string, stat *unix.Stat_t, write bool) (specs.ID, error) {
	key := inodeKey{stat.Dev, stat.Ino, write}
	if id := d.files.inodes[key]; id != 0 {
		return id, nil
	}
	r, err := d.regular(magic, link, stat, 0)
	if err != nil {
		return 0, err
	}
	if write {
		r.Flags = unix.O_RDWR
	}
	id := d.newID()
	d.files.inodes[key] = id
	return id, d.out.Put(id, r)
}

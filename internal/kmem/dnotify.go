package kmem

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dnRename is DN_RENAME (fcntl(2)).
const dnRename = 0x10

// maxMarks bounds the walks along the lists of marks of one inode.
const maxMarks = 1 << 16

// marks calls f with each fsnotify_mark of the inode of a descriptor of ours, until it returns
// true.
func (r *Reader) marks(fd int, f func(mark uint64) (bool, error)) error {
	file, err := r.File(fd)
	if err != nil {
		return err
	}
	connector, err := r.Follow(file, "file.f_inode", "inode.i_fsnotify_marks")
	if err != nil || connector == 0 {
		return err
	}
	off, err := r.Offset("fsnotify_mark.obj_list")
	if err != nil {
		return err
	}
	link, err := r.Follow(connector, "fsnotify_mark_connector.list")
	for n := 0; err == nil && link != 0 && n < maxMarks; n++ {
		if done, err := f(link - off); done || err != nil {
			return err
		}
		link, err = r.Word(link)
	}
	return err
}

// Watched tells whether the inode of a descriptor of ours is watched by anybody, through fsnotify's
// marks: inotify(7), fanotify(7) or F_NOTIFY.
func (r *Reader) Watched(fd int) (bool, error) {
	found := false
	err := r.marks(fd, func(uint64) (bool, error) {
		found = true
		return true, nil
	})
	return found, err
}

// DnotifyGroup finds the group that all marks of F_NOTIFY (fcntl(2)) belong to, by
// making one. It is 0 where the kernel has no such thing.
func (r *Reader) DnotifyGroup() (uint64, error) {
	path, err := os.MkdirTemp("", "rethaw-dnotify")
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	dir, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	if _, err := unix.FcntlInt(dir.Fd(), unix.F_NOTIFY, dnRename); err != nil {
		return 0, nil
	}
	defer unix.FcntlInt(dir.Fd(), unix.F_NOTIFY, 0)
	var group uint64
	err = r.marks(int(dir.Fd()), func(mark uint64) (bool, error) {
		var err error
		group, err = r.Follow(mark, "fsnotify_mark.group")
		return true, err
	})
	if err == nil && group == 0 {
		err = fmt.Errorf("%s: its mark was not found", path)
	}
	return group, err
}

// Dnotifies tells whether the directory of a descriptor of ours is watched by F_NOTIFY
// through this very description.
func (r *Reader) Dnotifies(fd int, group uint64) (bool, error) {
	file, err := r.File(fd)
	if err != nil {
		return false, err
	}
	found := false
	err = r.marks(fd, func(mark uint64) (bool, error) {
		owner, err := r.Follow(mark, "fsnotify_mark.group")
		if err != nil || owner != group {
			return false, err
		}
		// A dnotify_mark begins with the mark.
		dn, err := r.Follow(mark, "dnotify_mark.dn")
		for n := 0; err == nil && dn != 0 && n < maxMarks; n++ {
			by, err := r.Follow(dn, "dnotify_struct.dn_filp")
			if err != nil {
				return false, err
			}
			if by == file {
				found = true
				return true, nil
			}
			if dn, err = r.Follow(dn, "dnotify_struct.dn_next"); err != nil {
				return false, err
			}
		}
		return false, err
	})
	return found, err
}

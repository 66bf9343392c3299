package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// devIno is a file by the number of its file system and its own.
type devIno struct{ dev, ino uint64 }

// openInside opens a path of the container.
func (d *dump) openInside(path string, flags uint64) (int, error) {
	return d.inRoot(path+".", flags, 0)
}

// pathOfHandle finds the path of a file by its handle (open_by_handle_at(2)), ""
// if there is none: some file systems give handles that cannot be opened
// (overlayfs without nfs_export).
func (d *dump) pathOfHandle(w *procfs.InotifyWatch) string {
	if w.Handle == nil {
		return ""
	}
	for _, m := range d.mounts.byID {
		if m.Major != int(w.Major()) || m.Minor != int(w.Minor()) {
			continue
		}
		if path := d.pathOnMount(m, w); path != "" {
			return path
		}
	}
	return ""
}

func (d *dump) pathOnMount(m *mountinfo.Info, w *procfs.InotifyWatch) string {
	mount, err := d.openInside(strings.TrimSuffix(m.Mountpoint, "/")+"/", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return ""
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(int32(w.HandleType), w.Handle), unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil || unix.Fstat(fd, &stat) != nil {
		return ""
	}
	if there, err := d.reaches(path, &stat); err != nil || !there {
		return ""
	}
	return path
}

// findPaths walks through the container's file systems for files.
func (d *dump) findPaths(wanted map[devIno][]int) map[devIno]string {
	found := map[devIno]string{}
	devices := map[uint64]bool{}
	for key := range wanted {
		devices[key.dev] = true
	}
	for _, m := range d.mounts.byID {
		dev := unix.Mkdev(uint32(m.Major), uint32(m.Minor))
		if !devices[dev] || len(found) == len(wanted) {
			continue
		}
		fd, err := d.openInside(strings.TrimSuffix(m.Mountpoint, "/")+"/", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		w := inodeWalk{dev: dev, wanted: wanted, found: found}
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) == nil {
			w.look(&stat, m.Mountpoint)
		}
		w.directory(fd, m.Mountpoint)
	}
	return found
}

// inodeWalk looks for files on one file system. The container may run: each step is one name in an open
// directory, so that nothing which it makes a link of meanwhile leads out.
type inodeWalk struct {
	dev    uint64
	wanted map[devIno][]int
	found  map[devIno]string
}

// directory looks into a directory and those below it, and closes it. All names are looked at before a
// directory is opened, which those who watch it are told of.
func (w *inodeWalk) directory(fd int, path string) {
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return // removed meanwhile
	}
	var below []string
	for _, name := range names {
		var stat unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil || stat.Dev != w.dev {
			continue
		}
		w.look(&stat, filepath.Join(path, name))
		if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			below = append(below, name)
		}
	}
	for _, name := range below {
		if len(w.found) == len(w.wanted) {
			return
		}
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		next, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOATIME, 0)
		if errors.Is(err, unix.EPERM) { // another user's, and no CAP_FOWNER
			next, err = unix.Openat(int(dir.Fd()), name, flags, 0)
		}
		if err == nil {
			w.directory(next, filepath.Join(path, name))
		}
	}
}

// look tells whether a file is wanted.
func (w *inodeWalk) look(stat *unix.Stat_t, path string) {
	key := devIno{stat.Dev, stat.Ino}
	if w.wanted[key] != nil && w.found[key] == "" {
		w.found[key] = path
	}
}

package checkpoint

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// devIno is a file by the number of its file system and its own.
type devIno struct{ dev, ino uint64 }

// openInside opens a path of the container.
func (d *dump) openInside(path string, flags uint64) (int, error) {
	return unix.Openat2(int(d.root.Fd()), strings.TrimPrefix(path, "/")+".", &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT,
	})
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
	if err != nil || unix.Fstat(fd, &stat) != nil || !d.reaches(path, &stat) {
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
		fd, err := d.openInside(strings.TrimSuffix(m.Mountpoint, "/")+"/", unix.O_PATH)
		if err != nil {
			continue
		}
		// The container may run: what it makes a link of meanwhile leads not out of the mount.
		root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
		unix.Close(fd)
		if err != nil {
			continue
		}
		_ = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
			if len(found) == len(wanted) {
				return fs.SkipAll
			}
			if err != nil {
				return nil // removed meanwhile
			}
			info, err := root.Lstat(path)
			if err != nil {
				return nil
			}
			stat, ok := info.Sys().(*syscall.Stat_t)
			if !ok || stat.Dev != dev {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			key := devIno{stat.Dev, stat.Ino}
			if wanted[key] != nil && found[key] == "" {
				found[key] = filepath.Join(m.Mountpoint, path)
			}
			return nil
		})
		root.Close()
	}
	return found
}

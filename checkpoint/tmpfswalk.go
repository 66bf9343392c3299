package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/rethaw/rethaw/internal/pax"
	"golang.org/x/sys/unix"
)

// tmpfsWalk writes the files of one tmpfs into an archive: each directory before
// what is in it. Files are opened relative to their directories and links are never
// followed; access times stay as they are.
type tmpfsWalk struct {
	w *pax.Writer
	// save writes them.
	save *pax.Saver
	// mount is the number of the mount: what is on another one belongs not here.
	mount uint64
	// links are the files with several names of which not all have been met.
	links map[uint64]hardLink
}

// hardLink is the first name of a file, and how many more are to come.
type hardLink struct {
	name string
	left uint32
}

// namesAtOnce bounds the names that are held of one directory.
const namesAtOnce = 1 << 16

// top writes the mount's root directory and all below it.
func (t *tmpfsWalk) top(dir *os.File, name string) error {
	var stat unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stat); err != nil {
		return err
	}
	return t.directory(dir, name, &stat)
}

// directory writes a directory and what is in it.
func (t *tmpfsWalk) directory(dir *os.File, name string, stat *unix.Statx_t) error {
	h, err := pax.NewHeader(name, stat)
	if err != nil {
		return err
	}
	if err := t.save.Directory(dir, h); err != nil {
		return err
	}
	for {
		names, err := dir.Readdirnames(namesAtOnce)
		// The newest comes first; made again in the order of their age they
		// are listed as they were.
		slices.Reverse(names)
		for _, n := range names {
			if err := t.file(dir, n, name+"/"+n); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// file writes the file n of dir under its name in the archive.
func (t *tmpfsWalk) file(dir *os.File, n, name string) error {
	var stat unix.Statx_t
	err := unix.Statx(int(dir.Fd()), n, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stat)
	if err != nil {
		return err
	}
	h, err := pax.NewHeader(name, &stat)
	if err != nil {
		return err
	}
	kind := h.Type
	if stat.Mnt_id != t.mount {
		if kind != pax.Directory {
			kind = pax.Regular
		}
		return t.w.Header(&pax.Header{Name: name, Type: kind, Mountpoint: true})
	}
	if kind != pax.Directory && stat.Nlink > 1 {
		if first, known := t.links[stat.Ino]; known {
			if first.left--; first.left == 0 {
				delete(t.links, stat.Ino)
			} else {
				t.links[stat.Ino] = first
			}
			return t.w.Header(&pax.Header{Name: name, Type: pax.HardLink, Link: first.name})
		}
		t.links[stat.Ino] = hardLink{name, stat.Nlink - 1}
	}
	if kind == pax.Directory || kind == pax.Regular {
		return t.opened(dir, n, h, &stat)
	}
	if err := t.save.Special(dir, n, h); err != nil || kind != pax.Symlink {
		return err
	}
	// Reading it has set its access time, as a rule (O_NOATIME is for open files), and
	// a stream looks twice.
	return keepAtime(dir, n, h.Atime)
}

// opened writes a directory or a regular file.
func (t *tmpfsWalk) opened(dir *os.File, n string, h *pax.Header, stat *unix.Statx_t) error {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_NONBLOCK | unix.O_CLOEXEC
	if h.Type == pax.Directory {
		flags |= unix.O_DIRECTORY
	}
	fd, err := unix.Openat(int(dir.Fd()), n, flags, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), n)
	defer f.Close()
	if h.Type == pax.Directory {
		return t.directory(f, h.Name, stat)
	}
	return t.save.Regular(f, h, stat)
}

// keepAtime gives a file the access time that it had before we looked.
func keepAtime(dir *os.File, n string, atime int64) error {
	var now unix.Statx_t
	err := unix.Statx(int(dir.Fd()), n, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_ATIME, &now)
	if err != nil || now.Atime.Sec*1e9+int64(now.Atime.Nsec) == atime {
		return err
	}
	times := []unix.Timespec{unix.NsecToTimespec(atime), {Nsec: unix.UTIME_OMIT}}
	err = unix.UtimesNanoAt(int(dir.Fd()), n, times, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EPERM) {
		return nil // then reading has not set it either, or it cannot be helped
	}
	return err
}

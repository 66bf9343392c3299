package restore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/rethaw/rethaw/internal/pax"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// filler makes the files of one tmpfs from an archive. It steps from directory to
// directory by descriptors, one name at a time, and follows no links: nothing
// outside of the mount can be reached, whatever the archive says.
type filler struct {
	r       *restorer
	rec     *specs.Tmpfs
	archive io.ReaderAt
	entries *pax.Reader
	top     *os.File
	// later takes what finish needs.
	later *tmpfsLater
	// prefix is the mount point, with which all names begin.
	prefix string
	mount  uint64
	// size is that of the filesystem in bytes, 0 without a limit.
	size     int64
	readOnly bool
	// dirs are the directories from the top to the one that is being filled.
	dirs []*level
	buf  []byte
}

// level is a directory that is being filled.
type level struct {
	name  string
	dir   *os.File
	entry *pax.Entry
	// stale are the names that the fresh container has in it and the image, as
	// far as it was read, has not.
	stale map[string]bool
	// covered tells that another filesystem is mounted on it.
	covered bool
}

// fill makes all files.
func (f *filler) fill() error {
	f.buf = make([]byte, 256<<10)
	defer f.abandon()
	for {
		e, err := f.entries.Next()
		if errors.Is(err, io.EOF) {
			return f.leave("")
		}
		if err != nil {
			return err
		}
		f.later.add(e)
		if err := f.make(e); err != nil {
			return fmt.Errorf("/%s: %w", e.Name, err)
		}
	}
}

// make makes one file.
func (f *filler) make(e *pax.Entry) error {
	if len(f.dirs) == 0 {
		if e.Name != f.prefix || e.Type != pax.Directory {
			return fmt.Errorf("%w: the archive does not begin with the mount", ErrUnfit)
		}
		return f.enter(e, f.top)
	}
	parent, name := path.Split(e.Name)
	if err := f.leave(strings.TrimSuffix(parent, "/")); err != nil {
		return err
	}
	if len(f.dirs) == 0 {
		return fmt.Errorf("%w: the archive is not in order", ErrUnfit)
	}
	l := f.dirs[len(f.dirs)-1]
	if l.covered {
		return nil
	}
	delete(l.stale, name)
	dir := int(l.dir.Fd())
	var stat unix.Statx_t
	err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stat)
	exists := err == nil
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if exists && stat.Mnt_id != f.mount {
		if !e.Mountpoint {
			f.r.log.WithField("path", "/"+e.Name).Warn("the fresh container has something mounted here: what the image has is not restored")
		}
		if e.Type == pax.Directory {
			f.dirs = append(f.dirs, &level{name: e.Name, covered: true})
		}
		return nil
	}
	if e.Type == pax.Directory {
		return f.directory(e, dir, name, exists, &stat)
	}
	if exists && !same(e, dir, name, &stat) {
		if err := remove(dir, name, f.mount); err != nil {
			return err
		}
		exists = false
	}
	if e.Mountpoint && exists {
		return nil
	}
	return f.file(e, l.dir, name, exists)
}

// same tells whether a special file that is there is the one that is wanted but
// for its attributes. Regular files are made anew.
func same(e *pax.Entry, dir int, name string, stat *unix.Statx_t) bool {
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return e.Type == pax.Char && e.Major == stat.Rdev_major && e.Minor == stat.Rdev_minor
	case unix.S_IFBLK:
		return e.Type == pax.Block && e.Major == stat.Rdev_major && e.Minor == stat.Rdev_minor
	case unix.S_IFREG:
		return e.Mountpoint
	case unix.S_IFLNK:
		b := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, name, b)
		return err == nil && e.Type == pax.Symlink && string(b[:n]) == e.Link
	}
	return false
}

// directory makes a directory, or takes the one that is there, and enters it.
func (f *filler) directory(e *pax.Entry, dir int, name string, exists bool, stat *unix.Statx_t) error {
	if exists && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := remove(dir, name, f.mount); err != nil {
			return err
		}
		exists = false
	}
	if !exists {
		if err := unix.Mkdirat(dir, name, 0o700); err != nil {
			return err
		}
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return f.enter(e, os.NewFile(uintptr(fd), name))
}

// enter begins to fill a directory.
func (f *filler) enter(e *pax.Entry, dir *os.File) error {
	l := &level{name: e.Name, dir: dir, entry: e, stale: map[string]bool{}}
	f.dirs = append(f.dirs, l)
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		l.stale[n] = true
	}
	if e.Mountpoint {
		l.stale = nil // what is under a mount is not known
		return nil
	}
	return setAttributes(int(dir.Fd()), e)
}

// leave completes the directories down to the one called name; "" for all.
func (f *filler) leave(name string) error {
	for len(f.dirs) > 0 {
		l := f.dirs[len(f.dirs)-1]
		if name != "" && l.name == name {
			return nil
		}
		f.dirs = f.dirs[:len(f.dirs)-1]
		if l.covered {
			continue
		}
		for n := range l.stale {
			if err := remove(int(l.dir.Fd()), n, f.mount); err != nil {
				return fmt.Errorf("remove /%s/%s: %w", l.name, n, err)
			}
		}
		if l.dir != f.top {
			if err := l.dir.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon closes what an error has left open.
func (f *filler) abandon() {
	for _, l := range f.dirs {
		if l.dir != nil && l.dir != f.top {
			l.dir.Close()
		}
	}
	f.dirs = nil
}

// explain turns "no space" into what can be done about it.
func (f *filler) explain(err error) error {
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: it has a size of %s and some files less than it had; enlarge size= or nr_inodes= of the mount in the bundle's config.json: %w",
			ErrUnfit, humanize.IBytes(uint64(f.size)), err)
	}
	return err
}

// remove removes a file, or a directory with all that is in it, but for what is
// mounted there.
func remove(dir int, name string, mount uint64) error {
	var stat unix.Statx_t
	err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &stat)
	if errors.Is(err, unix.ENOENT) || err == nil && stat.Mnt_id != mount {
		return nil
	}
	if err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.Unlinkat(dir, name, 0)
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := remove(fd, n, mount); err != nil {
			return err
		}
	}
	err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) {
		return nil // something is mounted below it
	}
	return err
}

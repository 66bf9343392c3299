package checkpoint

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxNames bounds how many names are looked at for one lost file.
const maxNames = 20000

// otherName finds another name of a file whose own was removed: in the same
// directory or below it, where programs that replace files by links keep them.
// It is "" if none is found. Links are not followed.
func (d *dump) otherName(link string, stat *unix.Stat_t) string {
	top := filepath.Dir(strings.TrimSuffix(link, deletedSuffix))
	fd, err := d.inRoot(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return ""
	}
	left := maxNames
	return findName(fd, top, stat, &left)
}

// findName looks through the directory fd, which it closes.
func findName(fd int, dir string, stat *unix.Stat_t, left *int) string {
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, err := f.Readdirnames(*left)
	if err != nil {
		return ""
	}
	for _, name := range names {
		if *left--; *left <= 0 {
			return ""
		}
		var there unix.Stat_t
		if unix.Fstatat(fd, name, &there, unix.AT_SYMLINK_NOFOLLOW) != nil || there.Dev != stat.Dev {
			continue
		}
		path := filepath.Join(dir, name)
		if there.Ino == stat.Ino {
			return path
		}
		if there.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if found := findName(below, path, stat, left); found != "" {
			return found
		}
	}
	return ""
}

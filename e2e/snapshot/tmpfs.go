package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tmpfs looks at every file on the container's tmpfs mounts: those that a restore
// has to fill.
func (l *look) tmpfs() (map[string]Facts, error) {
	dir := fmt.Sprintf("/proc/%d", l.init)
	mounts, err := l.mountLines(dir)
	if err != nil {
		return nil, err
	}
	all := map[string]Facts{}
	for _, mount := range mounts {
		// The runtime covers some directories of /proc with empty ones.
		if mount.kind != "tmpfs" || strings.HasPrefix(mount.point, "/proc/") || strings.HasPrefix(mount.point, "/sys/") {
			continue
		}
		if err := l.walk(all, dir+"/root", mount.point); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// walk takes one mount, without those on top of it.
func (l *look) walk(all map[string]Facts, root, point string) error {
	var top unix.Stat_t
	if err := unix.Lstat(root+point, &top); err != nil {
		return &fs.PathError{Op: "stat", Path: point, Err: err}
	}
	return l.walkBelow(all, root, point, point, top.Dev)
}

// walkBelow takes a path and what is below it. It reads without a trace in the times
// of access.
func (l *look) walkBelow(all map[string]Facts, root, point, path string, dev uint64) error {
	var stat unix.Stat_t
	if err := unix.Lstat(root+path, &stat); err != nil || stat.Dev != dev {
		return nil // removed meanwhile, as the next look tells, or another mount
	}
	facts, err := l.tmpfsFile(root+path, point, &stat)
	all[path] = facts
	if err != nil || stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	dir, err := openQuietly(root + path)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := l.walkBelow(all, root, point, filepath.Join(path, name), dev); err != nil {
			return err
		}
	}
	return nil
}

func openQuietly(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME, 0)
}

func (l *look) tmpfsFile(path, point string, stat *unix.Stat_t) (Facts, error) {
	facts := Facts{
		"mode":  fmt.Sprintf("%o", stat.Mode),
		"owner": fmt.Sprintf("%d:%d", stat.Uid, stat.Gid),
		"inode": l.same("inode", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)),
	}
	if point != "/dev" { // whose nodes the runtime makes anew
		l.put(facts, "tmpfs", "modified", fmt.Sprintf("%d.%09d", stat.Mtim.Sec, stat.Mtim.Nsec))
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		digest, err := contents(path)
		if err != nil {
			return facts, err
		}
		l.put(facts, "tmpfs", "content", digest)
		facts["links"] = fmt.Sprint(stat.Nlink)
	case unix.S_IFLNK:
		facts["content"], _ = os.Readlink(path)
	case unix.S_IFCHR, unix.S_IFBLK:
		facts["content"] = fmt.Sprintf("device %d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	}
	xattrs(facts, path)
	return facts, nil
}

// block is the piece that a hole or a page of zeros is told apart by.
const block = 4096

// contents is the size and the digest of a file. Zeros are the same whether they are
// there or a hole is, and huge files are mostly holes.
func contents(path string) (string, error) {
	file, err := openQuietly(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	piece, zeros := make([]byte, block), make([]byte, block)
	for at := int64(0); at < info.Size(); at += block {
		data, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if err != nil {
			return "", &fs.PathError{Op: "seek", Path: path, Err: err}
		}
		at = data &^ (block - 1)
		n, err := file.ReadAt(piece, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if !bytes.Equal(piece[:n], zeros[:n]) {
			fmt.Fprintf(sum, "%d+%d:", at, n)
			sum.Write(piece[:n])
		}
	}
	return fmt.Sprintf("%d bytes %s", info.Size(), hex.EncodeToString(sum.Sum(nil)[:8])), nil
}

func xattrs(facts Facts, path string) {
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		value := make([]byte, 65536)
		if n, err := unix.Lgetxattr(path, name, value); err == nil && name != "" {
			facts["xattr "+name] = hex.EncodeToString(value[:n])
		}
	}
}

package snapshot

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stateDir is where programs and tests speak with each other: what is written
// there by one run stays there for the next, as in any volume.
const stateDir = "/state/"

// nameless finds the name that the kernel makes up for a file without one.
var nameless = regexp.MustCompile(`#[0-9]+ \(deleted\)$`)

// description is an open file description and the task and descriptor where it was
// first seen.
type description struct{ pid, fd int }

// files looks at every descriptor of a process.
func (l *look) files(pid int) (map[string]Facts, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		if isZombie(dir) {
			return nil, nil
		}
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	var fds []int
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	sort.Ints(fds)
	handle, err := unix.PidfdOpen(pid, unix.O_EXCL) // PIDFD_THREAD, since Linux 6.9
	if errors.Is(err, unix.EINVAL) {
		handle, err = unix.PidfdOpen(pid, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(handle)
	files := map[string]Facts{}
	for _, fd := range fds {
		facts, err := l.file(dir, pid, fd, handle)
		if err != nil {
			return nil, err
		}
		files[fmt.Sprintf("%05d", fd)] = facts
	}
	return files, nil
}

func isZombie(dir string) bool {
	stat, err := readStat(dir + "/stat")
	return err != nil || stat[statState] == "Z" || stat[statState] == "X"
}

// file looks at one descriptor: its link, its inode, its fdinfo, and what system
// calls on a copy of it tell.
func (l *look) file(dir string, pid, fd, handle int) (Facts, error) {
	name := strconv.Itoa(fd)
	target, err := os.Readlink(dir + "/fd/" + name)
	if err != nil {
		return nil, fmt.Errorf("snapshot: descriptor %d of %d: %w", fd, pid, err)
	}
	var stat unix.Stat_t
	if err := unix.Stat(dir+"/fd/"+name, &stat); err != nil {
		return nil, fmt.Errorf("snapshot: descriptor %d of %d: %w", fd, pid, err)
	}
	facts := Facts{}
	id := FileID{stat.Dev, stat.Ino}
	l.put(facts, "file", "description", l.description(id, pid, fd))
	if role, ok := l.options.Stdio[id]; ok {
		l.put(facts, "file", "target", role)
		return facts, nil
	}
	if kind, number, ok := strings.Cut(target, ":["); ok && !strings.HasPrefix(target, "/") && kind != "anon_inode" {
		target = l.same(kind, number)
	}
	// A file without a name (O_TMPFILE) is called by its inode number.
	l.put(facts, "file", "target", nameless.ReplaceAllString(target, "#N (deleted)"))
	l.put(facts, "file", "mode", fmt.Sprintf("%o", stat.Mode))
	l.put(facts, "file", "owner", fmt.Sprintf("%d:%d", stat.Uid, stat.Gid))
	if !strings.HasPrefix(target, "anon_inode") {
		l.put(facts, "file", "inode", l.same("inode", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)))
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		l.put(facts, "file", "device", fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev)))
	case unix.S_IFREG:
		if !strings.HasPrefix(target, stateDir) {
			l.put(facts, "file", "size", strconv.FormatInt(stat.Size, 10))
		}
		l.put(facts, "file", "links", strconv.FormatUint(uint64(stat.Nlink), 10))
	}
	text, err := os.ReadFile(dir + "/fdinfo/" + name)
	if err != nil {
		return nil, fmt.Errorf("snapshot: descriptor %d of %d: %w", fd, pid, err)
	}
	l.fdinfo(facts, string(text))
	if own, err := unix.PidfdGetfd(handle, fd, 0); err == nil {
		l.askFile(facts, own, stat.Mode)
		unix.Close(own)
	}
	return facts, nil
}

// description names an open file description by the descriptor that first showed
// it: inode numbers cannot tell a dup from a second open.
func (l *look) description(id FileID, pid, fd int) string {
	for _, known := range l.open[id] {
		if kcmp(pid, known.pid, 0, fd, known.fd) { // KCMP_FILE
			return fmt.Sprintf("that of %d/%d", l.inside[known.pid], known.fd)
		}
	}
	l.open[id] = append(l.open[id], description{pid, fd})
	return "first"
}

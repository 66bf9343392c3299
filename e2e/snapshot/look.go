package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// look is one pass over a container. It holds what was seen so far, by which
// numbers of the host become numbers that can be compared.
type look struct {
	init    int
	options Options
	order   []int          // host pids, by pid in the container
	inside  map[int]int    // host pid or tid -> the container's
	seen    map[string]int // "kind key" -> order of appearance within kind
	count   map[string]int // how many of a kind
	mounts  map[string]string
	open    map[FileID][]description
	tasks   []int // those done, for comparing what they share
}

func newLook(init int, options Options) *look {
	return &look{
		init: init, options: options,
		inside: map[int]int{}, seen: map[string]int{}, count: map[string]int{},
		mounts: map[string]string{}, open: map[FileID][]description{},
	}
}

// same names an object by the order in which its kind came up.
func (l *look) same(kind, key string) string {
	n, ok := l.seen[kind+" "+key]
	if !ok {
		l.count[kind]++
		n = l.count[kind]
		l.seen[kind+" "+key] = n
	}
	return kind + " " + strconv.Itoa(n)
}

// pid turns a pid of the host, in decimal, into the container's.
func (l *look) pid(text string) string {
	number, err := strconv.Atoi(text)
	if err != nil || number <= 0 {
		return text
	}
	if in, ok := l.inside[number]; ok {
		return strconv.Itoa(in)
	}
	return "outside"
}

// number reads the container's number of every task of the processes.
func (l *look) number(pids []int) error {
	for _, pid := range pids {
		tids, err := threadIDs(pid)
		if err != nil {
			return err
		}
		for _, tid := range tids {
			status, err := readStatus(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid))
			if err != nil {
				return err
			}
			own, err := strconv.Atoi(lastField(status["NSpid"]))
			if err != nil {
				return fmt.Errorf("snapshot: task %d: NSpid: %w", tid, err)
			}
			l.inside[tid] = own
		}
	}
	l.order = pids
	sort.Slice(l.order, func(i, j int) bool { return l.inside[l.order[i]] < l.inside[l.order[j]] })
	return nil
}

func threadIDs(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, entry := range entries {
		if tid, err := strconv.Atoi(entry.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	sort.Ints(tids)
	return tids, nil
}

func lastField(text string) string {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}

// put adds a fact unless the options ignore it.
func (l *look) put(facts Facts, kind, name, value string) {
	if !l.options.Ignore[kind+" "+name] {
		facts[name] = value
	}
}

// text reads a file of a task. A task that is a zombie has most files empty or
// not at all: that is a fact too.
func (l *look) text(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	switch {
	case err == nil:
		return string(text), nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ESRCH),
		errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "none", nil
	}
	return "", err
}

// link reads a symbolic link of a task.
func (l *look) link(dir, name string) string {
	text, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		return "none"
	}
	return text
}

// identity names the file behind a path by the order in which it came up.
func (l *look) identity(path string) string {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "none"
	}
	return l.same("inode", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
}

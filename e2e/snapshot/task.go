package snapshot

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// plainFiles are files of /proc/PID that are compared as they are.
var plainFiles = []string{
	"cmdline", "environ", "comm", "limits", "oom_score_adj", "coredump_filter", "timerslack_ns",
	"cgroup", "uid_map", "gid_map", "setgroups", "personality",
}

var namespaceLinks = []string{"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"}

// kcmpKinds are the tables that tasks may share (kcmp(2)).
var kcmpKinds = []struct {
	name string
	kind int
}{{"memory", 1}, {"files", 2}, {"fs", 3}, {"handlers", 4}}

// task looks at one process.
func (l *look) task(pid int) (Task, error) {
	at, err := livingThread(pid)
	if err != nil {
		return Task{}, err
	}
	dir := fmt.Sprintf("/proc/%d", at)
	task := Task{Facts: Facts{}, Threads: map[string]Facts{}}
	if err := l.readMounts(dir); err != nil {
		return task, err
	}
	for _, name := range plainFiles {
		text, err := l.text(dir, name)
		if err != nil {
			return task, err
		}
		l.put(task.Facts, "task", name, strings.ReplaceAll(text, "\x00", " "))
	}
	auxv, err := l.text(dir, "auxv")
	if err != nil {
		return task, err
	}
	l.put(task.Facts, "task", "auxv", hex.EncodeToString([]byte(auxv)))
	for _, name := range []string{"exe", "cwd", "root"} {
		l.put(task.Facts, "task", name, l.link(dir, name)+" = "+l.identity(dir+"/"+name))
	}
	l.namespaces(task.Facts, dir)
	if err := l.timers(task.Facts, dir); err != nil {
		return task, err
	}
	l.owner(task.Facts, dir)
	l.shares(task.Facts, at)
	if task.Memory, err = l.memory(dir); err != nil {
		return task, err
	}
	if task.Files, err = l.files(at); err != nil {
		return task, err
	}
	tids, err := threadIDs(pid)
	if err != nil {
		return task, err
	}
	for _, tid := range tids {
		facts, err := l.thread(pid, tid)
		if err != nil {
			return task, err
		}
		task.Threads[fmt.Sprintf("%05d", l.inside[tid])] = facts
	}
	return task, nil
}

// namespaces tells which of them are shared among tasks, and which are the host's.
func (l *look) namespaces(facts Facts, dir string) {
	for _, name := range namespaceLinks {
		link := l.link(dir+"/ns", name)
		switch link {
		case "none":
		case l.link("/proc/self/ns", strings.TrimSuffix(name, "_for_children")):
			link = "the host's"
		default:
			link = l.same("namespace", link)
		}
		l.put(facts, "task", "ns "+name, link)
	}
}

// timers takes the POSIX timers, whose targets are named by pid.
func (l *look) timers(facts Facts, dir string) error {
	text, err := l.text(dir, "timers")
	if err != nil {
		return err
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if head, number, ok := strings.Cut(line, "."); ok && strings.HasPrefix(line, "notify:") {
			lines[i] = head + "." + l.pid(number)
		}
	}
	l.put(facts, "task", "timers", strings.Join(lines, "\n"))
	return nil
}

// owner of the files in /proc/PID is root where the process is not dumpable
// (proc(5)).
func (l *look) owner(facts Facts, dir string) {
	var stat unix.Stat_t
	if err := unix.Stat(dir+"/fd", &stat); err == nil {
		l.put(facts, "task", "proc owner", fmt.Sprintf("%d:%d", stat.Uid, stat.Gid))
	}
}

// shares names, for each table that can be shared, the first process that has the
// same one.
func (l *look) shares(facts Facts, at int) {
	for _, table := range kcmpKinds {
		with := "its own"
		for _, other := range l.tasks {
			if kcmp(at, other, table.kind, 0, 0) {
				with = "that of " + strconv.Itoa(l.inside[other])
				break
			}
		}
		l.put(facts, "task", "shares "+table.name, with)
	}
	l.tasks = append(l.tasks, at)
}

// livingThread is the number by which /proc shows what the threads of a process have
// in common: its own, or that of another thread if the first one has ended.
func livingThread(pid int) (int, error) {
	if !isZombie(fmt.Sprintf("/proc/%d", pid)) {
		return pid, nil
	}
	tids, err := threadIDs(pid)
	if err != nil {
		return 0, err
	}
	for _, tid := range tids {
		if !isZombie(fmt.Sprintf("/proc/%d/task/%d", pid, tid)) {
			return tid, nil
		}
	}
	return pid, nil
}

// kcmp tells whether two tasks have the same object. Tasks that are dead have none.
func kcmp(pid, other, kind, fd, otherFD int) bool {
	result, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(other), uintptr(kind), uintptr(fd), uintptr(otherFD), 0)
	return errno == 0 && result == 0
}

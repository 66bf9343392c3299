// Package snapshot writes down all that the kernel shows of a container's tasks
// in /proc and through system calls on other processes, so that two of them can
// be compared.
//
// # How it works
//
// Take reads; it stops nothing and leaves no trace in the tasks. Numbers that mean
// nothing beyond this boot or this container are replaced: host pids by those of
// the pid namespace, inode numbers of anonymous objects by the order in which they
// were first seen. So two descriptors that shared a pipe before must share one
// after, while the number of that pipe may differ. What changes by itself (CPU
// time, resident pages, context switches) is left out by name, in the tables of
// the files here; everything else that a file of /proc holds is kept, also what a
// later kernel may add.
//
// Stable repeats Take until two in a row are equal: tasks that are asleep give
// that at once, and a task that is under way is waited for.
package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Facts are named values.
type Facts map[string]string

// Snapshot is what was seen of a container.
type Snapshot struct {
	Container Facts            // hostname, limits of namespaces, mounts
	IPC       []string         // System V objects
	Tmpfs     map[string]Facts // every file on every tmpfs
	Tasks     map[string]Task  // by pid in the container
}

// Task is what was seen of one process.
type Task struct {
	Facts   Facts
	Memory  []string // mappings
	Files   map[string]Facts
	Threads map[string]Facts // by tid in the container
}

// Options say what to look at.
type Options struct {
	// Stdio names files of the host that the container has as its streams: their
	// identity is not compared, since every container gets its own.
	Stdio map[FileID]string
	// Position adds program counter, stack pointer and system call of each thread.
	Position bool
	// Moving leaves out what a program changes while it works.
	Moving bool
	// Resting waits until no thread wants to run: on a busy machine one that has still
	// something to do may stand at the same place for long.
	Resting bool
	// Ignore drops facts by "kind name", such as "file pos" (tests of what may change).
	Ignore map[string]bool
}

// FileID is the identity of a file on the host.
type FileID struct{ Dev, Ino uint64 }

// Take looks once at all processes of the pid namespace of init.
func Take(init int, options Options) (*Snapshot, error) {
	pids, err := members(init)
	if err != nil {
		return nil, err
	}
	look := newLook(init, options)
	if err := look.number(pids); err != nil {
		return nil, err
	}
	s := &Snapshot{Tasks: map[string]Task{}}
	for _, pid := range look.order {
		task, err := look.task(pid)
		if err != nil {
			return nil, err
		}
		s.Tasks[fmt.Sprintf("%05d", look.inside[pid])] = task
	}
	if s.Container, err = look.container(); err != nil {
		return nil, err
	}
	if s.IPC, err = look.ipc(); err != nil {
		return nil, err
	}
	s.Tmpfs, err = look.tmpfs()
	if options.Moving {
		s.prune()
	}
	return s, err
}

// enough is how many times in a row a container with a task that always runs must look the same.
const enough = 20

// Stable returns a snapshot that was seen twice in a row, or the last one with an
// error that tells what goes on changing. A task that runs around the looks may have been held in the middle of something, for
// want of a processor: Resting never takes such looks, others only after many that were the same.
func Stable(init int, options Options, timeout time.Duration) (*Snapshot, error) {
	var last *Snapshot
	var diff string
	same := 0
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		busy := running(init)
		next, err := Take(init, options)
		busy = running(init) || busy
		if err == nil && last != nil {
			same++
			if diff = Diff(last, next); diff != "" {
				same = 0
			}
			if same > 0 && !busy || same >= enough && !options.Resting {
				return next, nil
			}
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = fmt.Errorf("the tasks do not come to rest in %v:\n%s", timeout, diff)
			}
			return next, err
		}
		if err == nil {
			last = next
		}
	}
}

// steady is how long a difference may stay the same until it is taken for final.
const steady = 3 * time.Second

// Equal looks until the tasks are as in want, and returns the difference that is
// left after timeout, empty if there is none. A difference that does not change any
// more ends it sooner.
func Equal(want *Snapshot, init int, options Options, timeout time.Duration) (string, error) {
	start, last := time.Now(), ""
	since := start
	for {
		got, err := Take(init, options)
		diff := ""
		if err == nil {
			diff = Diff(want, got)
		}
		now := time.Now()
		if diff != last {
			last, since = diff, now
		}
		if err == nil && (diff == "" || now.Sub(since) > steady) || now.Sub(start) > timeout {
			return diff, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Diff tells what differs, with - for before and + for after, or nothing.
func Diff(before, after *Snapshot) string {
	return cmp.Diff(before, after, cmp.FilterPath(isPosition, cmp.Comparer(samePosition)))
}

func isPosition(path cmp.Path) bool {
	index, ok := path.Last().(cmp.MapIndex)
	return ok && index.Key().String() == "position"
}

// samePosition takes a task that was under way when it was looked at for being
// anywhere.
func samePosition(a, b string) bool { return a == b || a == "running" || b == "running" }

// members returns the pids, on the host, of all processes in the pid namespace of
// init, those that were added to it later too.
func members(init int) ([]int, error) {
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	if err != nil {
		return nil, fmt.Errorf("snapshot: container init: %w", err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if link, err := os.Readlink(dir + "/ns/pid"); err == nil && link == namespace {
			pids = append(pids, pid)
			continue
		}
		// A zombie has no namespaces any more but is still somebody's child.
		if isZombieIn(pid, init) {
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids, nil
}

// isZombieIn tells whether pid is a dead process below init.
func isZombieIn(pid, init int) bool {
	stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || stat[statState] != "Z" {
		return false
	}
	for depth := 0; depth < 64 && pid > 1; depth++ {
		if pid == init {
			return true
		}
		stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return false
		}
		if pid, err = strconv.Atoi(stat[statPPid]); err != nil {
			return false
		}
	}
	return false
}

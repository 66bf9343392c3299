package procfs

import (
	"errors"
	"os"
	"slices"
)

// Pids lists the processes (not the threads) of /proc, sorted. Any of them may
// end at any time.
func Pids() ([]int, error) { return list(0, "") }

// ListTasks lists the thread ids of a process, sorted.
func ListTasks(pid int) ([]int, error) { return list(pid, "task") }

// ListFDs lists the open descriptors of a process, sorted. They are those of the
// table of its leader, and none if it is a zombie.
func ListFDs(pid int) ([]int, error) { return list(pid, "fd") }

// ListTaskFDs lists the open descriptors of one thread, sorted.
func ListTaskFDs(pid, tid int) ([]int, error) { return list(pid, task(tid, "fd")) }

// list gives the entries of a directory that are numbers.
func list(pid int, name string) ([]int, error) {
	d, err := os.Open(path(pid, name))
	if err != nil {
		return nil, &Error{"open", pid, name, errors.Unwrap(err)}
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		cause := err
		if u := errors.Unwrap(err); u != nil {
			cause = u
		}
		return nil, &Error{"list", pid, name, cause}
	}
	var numbers []int
	for _, s := range names {
		if n, ok := parsePID([]byte(s)); ok && n >= 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// childrenTries bounds how often Children begins again.
const childrenTries = 16

// Children lists the children of a process, sorted: those of all its threads, for
// each thread keeps the list of what it forked itself. It is exact only while
// they are all stopped.
func Children(pid int) (all []int, err error) {
	// A thread that ends gives its children to another one, which may have been
	// read before: then all are asked again.
	for range childrenTries {
		var tids []int
		if tids, err = ListTasks(pid); err != nil {
			return nil, err
		}
		all = all[:0]
		for _, tid := range tids {
			var pids []int
			if pids, err = ReadChildren(pid, tid); err != nil {
				break
			}
			all = append(all, pids...)
		}
		if err == nil {
			slices.Sort(all)
			return all, nil
		}
		if !Gone(err) {
			break
		}
	}
	return nil, err
}

package procfs

import (
	"slices"

	"golang.org/x/sys/unix"
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

// list gives the entries of a directory that are numbers. As in ReadFile the system calls are made directly.
func list(pid int, name string) ([]int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path(pid, name), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	})
	if err != nil {
		return nil, &Error{"open", pid, name, err}
	}
	defer unix.Close(fd)
	buffer := buffers.Get().(*buffer)
	defer buffers.Put(buffer)
	var numbers []int
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, buffer[:]) })
		if err != nil {
			return nil, &Error{"list", pid, name, err}
		}
		if n == 0 {
			slices.Sort(numbers)
			return numbers, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names[:0])
		for _, s := range names {
			if n, ok := parsePID([]byte(s)); ok && n >= 0 {
				numbers = append(numbers, n)
			}
		}
	}
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

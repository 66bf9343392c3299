// Package ns runs Go code inside the namespaces of another task.
//
// Namespaces belong to a thread, and the Go runtime moves goroutines between
// threads at will, so each entry gets an operating system thread of its own:
//
//  1. a goroutine is locked to its thread, and never to the main thread, since
//     /proc/self shows the namespaces and the root of that one to the whole
//     program;
//  2. unshare(CLONE_FS) gives the thread a root and a working directory of its
//     own; Go's threads share theirs, and setns(2) refuses to change the mount
//     namespace of a thread that shares them;
//  3. the task's root is opened if it is wanted, while the old /proc is still
//     in sight;
//  4. one setns(2) of a pidfd joins all the kinds at once, or none (Linux 5.8);
//     joining a mount namespace puts root and working directory at the top of
//     it, which after pivot_root(2) is the container's root;
//  5. with [Root], chroot(2) goes on to the task's own root, which differs
//     from 4 for a task that has called chroot(2) itself and for containers
//     made without pivot_root;
//  6. where the task has a user namespace of its own, what the closures make belongs to the superuser of
//     that ([userns]);
//  7. when the closures are done the goroutine ends while it is locked, and
//     the runtime throws the thread away with all that was changed.
//
// User and time namespaces cannot be joined by a program of several threads,
// which every Go program is; a pid namespace can, but only children of the
// thread are affected (see package agent).
package ns

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Kinds is a set of kinds of namespaces: the CLONE_NEW* bits of setns(2), and
// Root.
type Kinds int

// The kinds that can be joined. Root is no namespace: it asks for the root
// directory of the task besides its mount namespace, and needs Mount.
const (
	Mount  Kinds = unix.CLONE_NEWNS
	UTS    Kinds = unix.CLONE_NEWUTS
	IPC    Kinds = unix.CLONE_NEWIPC
	Net    Kinds = unix.CLONE_NEWNET
	Cgroup Kinds = unix.CLONE_NEWCGROUP
	PID    Kinds = unix.CLONE_NEWPID // for children of the thread only
	Root   Kinds = 1                 // inside CSIGNAL: not a namespace bit

	// All is everything that belongs to a container's view but its pids.
	All = Mount | UTS | IPC | Net | Cgroup | Root
)

// names lists the kinds as /proc/PID/ns calls them.
var names = [...]struct {
	kind Kinds
	name string
}{
	{Mount, "mnt"}, {UTS, "uts"}, {IPC, "ipc"}, {Net, "net"},
	{Cgroup, "cgroup"}, {PID, "pid"}, {Root, "root"},
}

// String names the kinds as /proc/PID/ns does, separated by commas.
func (k Kinds) String() string {
	var s []string
	for _, n := range names {
		if k&n.kind != 0 {
			s, k = append(s, n.name), k&^n.kind
		}
	}
	if k != 0 {
		s = append(s, fmt.Sprintf("%#x", int(k)))
	}
	return strings.Join(s, ",")
}

func (k Kinds) check() error {
	rest := k
	for _, n := range names {
		rest &^= n.kind
	}
	switch {
	case rest != 0:
		return fmt.Errorf("%s cannot be joined by a program of several threads: %w", rest, errors.ErrUnsupported)
	case k&Root != 0 && k&Mount == 0:
		return fmt.Errorf("root without mnt: %w", unix.EINVAL)
	}
	return nil
}

// Enter calls f once on a thread that has joined the given namespaces of task
// pid, and returns what f returns. Code that f starts in other goroutines runs
// outside; processes that f starts run inside. For more than one call use
// [Start].
func Enter(pid int, kinds Kinds, f func() error) error {
	t, err := Start(pid, kinds)
	if err != nil {
		return err
	}
	defer t.Close()
	return t.Do(f)
}

// join makes the calling thread, which must be locked, one of the task's
// namespaces.
func join(pid int, kinds Kinds) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare(CLONE_FS): %w", err)
	}
	root := -1
	if kinds&Root != 0 {
		root, err = unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open its root: %w", err)
		}
		defer unix.Close(root)
	}
	if flags := kinds &^ Root; flags != 0 {
		if err := unix.Setns(pidfd, int(flags)); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
	}
	if root < 0 {
		return nil
	}
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("fchdir to its root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot to its root: %w", err)
	}
	return nil
}

// Package agent acts inside the pid namespace of a container with privileges
// that the container's own tasks lack.
//
// A pid is chosen in one of two ways. A process that we make ourselves gets it
// by set_tid of clone3(2): see [Spawn]. But the tasks of a tree must be forked
// by their own parents, and those run with a container's capabilities: set_tid
// is refused with EPERM, and /proc/sys is read-only. So we move the cursor of
// the namespace, from which the next fork takes its pid, by writing to
// /proc/sys/kernel/ns_last_pid just before the fork ([Agent.SetNext]).
//
// The handler of that file (pid_ns_ctl_handler in kernel/pid_namespace.c) acts
// on the namespace in which the WRITER lives, whoever opened the file, and a
// living task cannot change the namespace that it is in: setns(2) decides about
// its children only. Hence each write is done by a short-lived child:
//
//  1. a thread of ours has joined the namespace with setns(CLONE_NEWPID) once,
//     and holds the file open, from our own /proc;
//  2. it blocks all signals and calls clone3(CLONE_VM | CLONE_VFORK) with
//     set_tid. A pid given by set_tid does not move the cursor;
//  3. the child is a few instructions of assembly: pwrite(2) and exit(2). It
//     shares our memory but touches no stack, so that the frame of the
//     suspended thread stays whole; no Go code ever runs in it;
//  4. the thread reaps the child, which frees the pid that it had.
//
// The cursor says where the search for a free pid begins. The next fork gets
// the wanted pid if that is free and nobody else in the namespace, or in one
// below it, forks in between: all other tasks must be stopped.
//
// Opens and mounts in a container's other namespaces are the job of package ns.
package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/ns"
)

// lastPID is sysctl kernel.ns_last_pid (CONFIG_CHECKPOINT_RESTORE).
const lastPID = "/proc/sys/kernel/ns_last_pid"

// Agent places pids in one pid namespace. It is used from one goroutine at a
// time.
type Agent struct {
	thread *ns.Thread
	fd     int // lastPID
	// The two argument blocks are kept, so that a call allocates nothing.
	args  cloneArgs
	tid   int32
	write pwrite
	buf   [16]byte
}

// New returns an agent for the pid namespace of the task init, a pid of our own
// namespace. It needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN over that
// namespace and, unless it is ours, CAP_SYS_ADMIN to join it.
func New(init int) (*Agent, error) {
	if err := supported(); err != nil {
		return nil, fmt.Errorf("place pids in the namespace of task %d: %w", init, err)
	}
	fd, err := unix.Open(lastPID, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("open %s: %w; the kernel was built without CONFIG_CHECKPOINT_RESTORE", lastPID, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", lastPID, err)
	}
	kind := ns.PID
	if same(init) {
		kind = 0 // there is nothing to join, which would take CAP_SYS_ADMIN
	}
	thread, err := ns.Start(init, kind)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Agent{thread: thread, fd: fd}, nil
}

// same tells whether a task is in our own pid namespace.
func same(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && theirs == ours
}

// Close ends the agent's thread and leaves the namespace's cursor as it is.
func (a *Agent) Close() {
	a.thread.Close()
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
}

// SetNext makes the next fork or clone in the namespace get pid, a number of
// that namespace above 1. A run of consecutive pids needs it for the first one
// only. For some ten microseconds a task of ours appears in the namespace with
// the pid scratch, which must be unused; 0 stands for pid itself, which has to
// be unused anyway.
//
// A scratch pid that is in use gives EEXIST, one beyond the namespace's pid_max
// EINVAL.
func (a *Agent) SetNext(pid, scratch int) error {
	if scratch == 0 {
		scratch = pid
	}
	var err error = unix.EINVAL
	if pid > 1 && scratch > 1 {
		err = a.thread.Do(func() error { return a.setNext(pid, scratch) })
	}
	if err != nil {
		return fmt.Errorf("make %d the next pid (by way of pid %d): %w", pid, scratch, err)
	}
	return nil
}

// setNext runs on the agent's thread.
func (a *Agent) setNext(pid, scratch int) error {
	a.tid = int32(scratch)
	a.args = cloneArgs{
		flags:      unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_FILES | unix.CLONE_FS,
		setTID:     uint64(uintptr(unsafe.Pointer(&a.tid))),
		setTIDSize: 1,
	}
	text := strconv.AppendInt(a.buf[:0], int64(pid-1), 10)
	a.write = pwrite{
		fd:     uint64(a.fd),
		buf:    unsafe.Pointer(&a.buf[0]),
		n:      uint64(len(text)),
		result: unwritten,
	}
	var child int
	if err := blocked(func() {
		child = clonePwrite(&a.args, unsafe.Sizeof(a.args), &a.write)
	}); err != nil {
		return err
	}
	runtime.KeepAlive(a)
	if child < 0 {
		return fmt.Errorf("clone3: %w%s", unix.Errno(-child), hint(unix.Errno(-child)))
	}
	if err := reap(child); err != nil {
		return err
	}
	switch r := a.write.result; {
	case r == unwritten:
		return fmt.Errorf("the helper was killed: %w", unix.ESRCH)
	case r < 0:
		return fmt.Errorf("write %s: %w", lastPID, unix.Errno(-r))
	}
	return nil
}

// hint says what an error of clone3 with set_tid means.
func hint(err unix.Errno) string {
	switch err {
	case unix.EEXIST:
		return "; the pid is in use"
	case unix.EINVAL:
		return "; the pid must be below kernel.pid_max of the namespace"
	case unix.ENOMEM:
		return "; out of memory, or init of the namespace is dead"
	case unix.EPERM:
		return "; CAP_CHECKPOINT_RESTORE over the pid namespace is needed"
	}
	return ""
}

// reap waits for a child without an exit signal. ECHILD means that a wait for
// any child, elsewhere in the program, has been quicker.
func reap(child int) error {
	for {
		_, err := unix.Wait4(child, nil, unix.WALL, nil)
		switch err {
		case nil, unix.ECHILD:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("wait4: %w", err)
		}
	}
}

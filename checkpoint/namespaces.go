package checkpoint

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/ns"
	"golang.org/x/sys/unix"
)

// inner is a thread of ours in the UTS and IPC namespaces of the tree; it has left
// the others alone.
type inner struct {
	thread *ns.Thread
	// tid is its number.
	tid int
	// outside tells that it was not let in: it has only no semaphores to give back.
	outside bool
}

func (i *inner) close() {
	if i.thread != nil {
		i.thread.Close()
		i.thread = nil
	}
}

// inside runs f in the UTS and IPC namespaces of the tree.
func (d *dump) inside(f func() error) error {
	if d.inner.outside {
		return kernel.Need("System V objects can be looked at", unix.CAP_SYS_ADMIN)
	}
	if d.inner.thread == nil {
		var err error
		if d.inner.thread, err = ns.Start(d.target.Init, ns.UTS|ns.IPC); err != nil {
			return err
		}
	}
	return d.inner.thread.Do(f)
}

// prepare does what needs no stop and takes its time.
func (d *dump) prepare() error {
	if d.target.Host {
		return nil
	}
	err := d.innerThread()
	if err != nil {
		return err
	}
	if d.hostMounts == nil {
		d.hostMounts, err = hostMounts()
	}
	return err
}

// innerThread makes the thread. Without the right to join namespaces it stays outside: that is enough
// for a container without System V objects.
func (d *dump) innerThread() error {
	if d.inner.thread != nil {
		return nil
	}
	if kernel.Privileged(unix.CAP_SYS_ADMIN) {
		return d.inside(func() error { d.inner.tid = unix.Gettid(); return nil })
	}
	var err error
	if d.inner.thread, err = ns.Start(d.target.Init, 0); err != nil {
		return err
	}
	d.inner.outside = true
	return d.inner.thread.Do(func() error {
		d.inner.tid = unix.Gettid()
		return os.NewSyscallError("unshare(CLONE_SYSVSEM)", unix.Unshare(unix.CLONE_SYSVSEM))
	})
}

// shareableNamespaces are those that a task of the tree must have in common with
// all others: tasks are restored in the namespaces of the fresh container. (pid
// namespaces are looked at by their depth.)
var shareableNamespaces = [...]string{"mnt", "uts", "ipc", "net", "user", "cgroup", "time"}

// namespace identifies a namespace of a task; "" if the kernel has not that kind.
func namespace(pid string, kind string) (string, error) {
	link, err := os.Readlink("/proc/" + pid + "/ns/" + kind)
	if os.IsNotExist(err) {
		if _, missing := os.Lstat("/proc/self/ns/" + kind); os.IsNotExist(missing) {
			return "", nil
		}
	}
	return link, err
}

// ownNamespace tells whether the tree has a namespace of this kind that is not
// ours.
func (d *dump) ownNamespace(kind string) (bool, error) {
	theirs, err := namespace(fmt.Sprint(d.target.Init), kind)
	if err != nil {
		return false, err
	}
	ours, err := namespace("self", kind)
	return theirs != ours, err
}

// checkNamespaces finds a task that has left the namespaces of the tree's first,
// and a host tree whose first is not in ours, where it would be restored.
func (d *dump) checkNamespaces(p *process) []error {
	reason, remedy := "the task is in a %s namespace of its own inside the container", "end it before the checkpoint"
	first := fmt.Sprint(d.target.Init)
	problems := p.checkHeirs()
	if p.pid == d.target.Init {
		if !d.target.Host {
			return problems
		}
		first = "self"
		reason, remedy = "the task is in a %s namespace of its own, which a restored tree would not have", "checkpoint it as a container"
	}
	for _, kind := range shareableNamespaces {
		want, err := d.firstNamespace(first, kind)
		if err != nil {
			return problems
		}
		own, err := namespace(fmt.Sprint(p.at), kind)
		if err != nil {
			return problems // it has ended
		}
		if own != want {
			problems = append(problems, p.unsupported("namespace "+own, fmt.Sprintf(reason, kind), remedy))
		}
	}
	return problems
}

// firstNamespace is namespace for the task that all others are compared with, which is looked at once.
func (d *dump) firstNamespace(pid, kind string) (string, error) {
	if ns, known := d.homes[kind]; known {
		return ns, nil
	}
	ns, err := namespace(pid, kind)
	if err == nil {
		d.homes[kind] = ns
	}
	return ns, err
}

// checkHeirs finds a namespace that only the future children of a process would be in
// (unshare(2) with CLONE_NEWPID or CLONE_NEWTIME).
func (p *process) checkHeirs() []error {
	var problems []error
	pid := fmt.Sprint(p.at) // what has ended has no namespaces
	for _, kind := range []string{"pid", "time"} {
		own, err := namespace(pid, kind)
		if err != nil || own == "" {
			continue
		}
		theirs, err := namespace(pid, kind+"_for_children")
		// A pid namespace in which no child has been born yet shows nothing.
		if err == nil && theirs == own || err != nil && !errors.Is(err, unix.ENOENT) {
			continue
		}
		problems = append(problems, p.unsupported("namespace for children", "is another "+kind+" namespace than its own (unshare(2))", "end the task before the checkpoint"))
	}
	return problems
}

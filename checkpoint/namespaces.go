package checkpoint

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/ns"
	"golang.org/x/sys/unix"
)

// inner is a thread of ours in the UTS and IPC namespaces of the tree; it has left
// the others alone.
type inner struct {
	thread *ns.Thread
	// tid is its number.
	tid int
}

func (i *inner) close() {
	if i.thread != nil {
		i.thread.Close()
		i.thread = nil
	}
}

// inside runs f in the UTS and IPC namespaces of the tree.
func (d *dump) inside(f func() error) error {
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
	if err := d.inside(func() error { d.inner.tid = unix.Gettid(); return nil }); err != nil {
		return err
	}
	var err error
	d.hostMounts, err = hostMounts()
	return err
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
	if p.pid == d.target.Init {
		if !d.target.Host {
			return nil
		}
		first = "self"
		reason, remedy = "the task is in a %s namespace of its own, which a restored tree would not have", "checkpoint it as a container"
	}
	var problems []error
	for _, kind := range shareableNamespaces {
		want, err := namespace(first, kind)
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

package checkpoint

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/kernel"
	"golang.org/x/sys/unix"
)

// right is a capability that not every container needs. What lacks it is found before anything is
// stopped.
type right struct {
	// what can be done with it, as in kernel.PrivilegeError.
	what string
	caps []int
	// found finds what needs it, nil if nothing in the container does.
	found func(*dump) (p *process, object string)
}

// rights is the table of them. Tracing and map_files, without which nothing goes, are not in it, nor is what
// files of other users in tmpfs mounts take (tmpfs.go).
func rights() []right {
	return []right{
		{"seccomp filters can be lifted and read", []int{unix.CAP_SYS_ADMIN}, withSeccomp},
		{"sockets can be looked for in their network namespace", []int{unix.CAP_SYS_ADMIN}, holdsSocket},
		{"the file of a socket can be asked for", []int{unix.CAP_NET_ADMIN}, boundSocket},
		{"tasks of other users can be killed", []int{unix.CAP_KILL}, notKillable},
	}
}

// checkRights names what in the container needs a capability that this process lacks.
func (d *dump) checkRights() []error {
	var problems []error
	for _, r := range rights() {
		need := kernel.Need(r.what, r.caps...)
		if need == nil {
			continue
		}
		if p, object := r.found(d); p != nil {
			problems = append(problems, fmt.Errorf("task %d (%s): %s: %w", p.nspid, p.stat.Comm, object, need))
		}
	}
	return problems
}

func withSeccomp(d *dump) (*process, string) {
	for _, p := range d.live() {
		if p.status.Seccomp != 0 {
			return p, "seccomp filter"
		}
	}
	return nil, ""
}

func holdsSocket(d *dump) (*process, string) {
	for _, f := range d.files.all {
		if f.stat.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return f.proc, fmt.Sprintf("fd %d (%s)", f.fd, f.link)
		}
	}
	return nil, ""
}

func boundSocket(d *dump) (*process, string) {
	if d.sockets.byInode == nil && d.sockets.load(d) != nil {
		return nil, "" // that goes before
	}
	for _, f := range d.files.all {
		info := d.sockets.byInode[f.stat.Ino]
		if f.stat.Mode&unix.S_IFMT == unix.S_IFSOCK && info != nil && info.FileInode != 0 {
			return f.proc, fmt.Sprintf("fd %d (%s)", f.fd, f.link)
		}
	}
	return nil, ""
}

// notKillable finds a task that would live on, alone, if the checkpoint killed the tree.
func notKillable(d *dump) (*process, string) {
	if d.opts.LeaveRunning {
		return nil, ""
	}
	for _, p := range d.live() {
		if errors.Is(unix.PidfdSendSignal(int(p.pidfd.Fd()), 0, nil, 0), unix.EPERM) {
			return p, "its end"
		}
	}
	return nil, ""
}

// refuseKill finds a task that came since the preflight and cannot be killed.
func (d *dump) refuseKill() error {
	if p, _ := notKillable(d); p != nil {
		return &Error{"kill", p.nspid, kernel.NeedFor(unix.EPERM, "tasks of other users can be killed", unix.CAP_KILL)}
	}
	return nil
}

// refuseSeccomp finds a filter that was installed since the preflight. Without the capability filters
// are not lifted, and one may end the task for what we have it do.
func (d *dump) refuseSeccomp() error {
	p, object := withSeccomp(d)
	if p == nil {
		return nil
	}
	if need := kernel.Need("seccomp filters can be lifted and read", unix.CAP_SYS_ADMIN); need != nil {
		return fmt.Errorf("task %d (%s): %s: %w", p.nspid, p.stat.Comm, object, need)
	}
	return nil
}

// seizeOptions has the kernel attach children for us and, if it lets us, lift seccomp filters for
// what is run inside the threads; it all ends with the tracer.
func seizeOptions() int {
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE
	if !kernel.Privileged(unix.CAP_SYS_ADMIN) {
		return options
	}
	return options | ptraceOSuspendSeccomp
}

// ptraceOSuspendSeccomp is PTRACE_O_SUSPEND_SECCOMP (ptrace(2)).
const ptraceOSuspendSeccomp = 1 << 21

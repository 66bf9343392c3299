package kernel

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrPrivilege is what errors of missing capabilities answer to.
var ErrPrivilege = errors.New("missing privilege")

// PrivilegeError tells of capabilities that this process lacks.
type PrivilegeError struct {
	// What they are needed for: a sentence's beginning, "seccomp filters can be read".
	What string
	// Missing are their names (capabilities(7)).
	Missing []string
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("%s only with %s, which rethaw lacks (docs/security.md has the table)", e.What, strings.Join(e.Missing, " and "))
}

// Is answers to ErrPrivilege.
func (e *PrivilegeError) Is(target error) bool { return target == ErrPrivilege }

// capabilities names those that something here needs.
var capabilities = map[int]string{
	unix.CAP_CHOWN: "CAP_CHOWN", unix.CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE", unix.CAP_DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH",
	unix.CAP_FOWNER: "CAP_FOWNER", unix.CAP_KILL: "CAP_KILL", unix.CAP_SETGID: "CAP_SETGID", unix.CAP_SETUID: "CAP_SETUID",
	unix.CAP_NET_ADMIN: "CAP_NET_ADMIN", unix.CAP_NET_RAW: "CAP_NET_RAW", unix.CAP_SYS_CHROOT: "CAP_SYS_CHROOT",
	unix.CAP_SYS_PTRACE: "CAP_SYS_PTRACE", unix.CAP_SYS_ADMIN: "CAP_SYS_ADMIN", unix.CAP_BPF: "CAP_BPF",
	unix.CAP_PERFMON: "CAP_PERFMON", unix.CAP_CHECKPOINT_RESTORE: "CAP_CHECKPOINT_RESTORE", unix.CAP_IPC_OWNER: "CAP_IPC_OWNER",
}

// Privileged tells whether this process has a capability (CAP_* of x/sys/unix) in effect.
func Privileged(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	// It fails for no other reasons than a version that is not known.
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// Need is a *PrivilegeError if this process lacks one of the capabilities; what is its What.
func Need(what string, caps ...int) error {
	e := &PrivilegeError{What: what}
	for _, c := range caps {
		if !Privileged(c) {
			e.Missing = append(e.Missing, capabilities[c])
		}
	}
	if len(e.Missing) == 0 {
		return nil
	}
	return e
}

// NeedFor explains err, if it is a lack of permission and this process lacks one of the capabilities
// that would have given it.
func NeedFor(err error, what string, caps ...int) error {
	if err == nil || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		return err
	}
	if need := Need(what, caps...); need != nil {
		return fmt.Errorf("%w (%w)", need, err)
	}
	return err
}

// CapabilityName is the name of a capability.
func CapabilityName(c int) string { return capabilities[c] }

package plugin

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/kernel"
)

// ErrPrivilege: this process may not do what a checkpoint or restore takes.
var ErrPrivilege = kernel.ErrPrivilege

// Work is what takes privileges.
type Work int

// The kinds of work.
const (
	// ToCheckpoint is to save a container, or to check whether that could be done.
	ToCheckpoint Work = iota
	// ToRestore is to make a container and restore into it.
	ToRestore
	// ToRestoreTree is to restore a tree of host tasks.
	ToRestoreTree
)

// least lists for each kind of work the capabilities without which it gets nowhere; of each line one
// will do. What single objects need beyond them is asked for where they are.
var least = map[Work][][]int{
	ToCheckpoint: {
		{unix.CAP_SYS_PTRACE},                             // tracing tasks of others
		{unix.CAP_CHECKPOINT_RESTORE, unix.CAP_SYS_ADMIN}, // /proc/PID/map_files
	},
	ToRestoreTree: {
		{unix.CAP_SYS_PTRACE},
		{unix.CAP_CHECKPOINT_RESTORE, unix.CAP_SYS_ADMIN}, // choosing pids
	},
	ToRestore: {
		{unix.CAP_SYS_PTRACE},
		{unix.CAP_SYS_ADMIN},  // joining namespaces
		{unix.CAP_SYS_CHROOT}, // joining a mount namespace
	},
}

// CheckPrivilege tells whether this process has the capabilities without which the work does not
// begin. Its errors are ErrPrivilege.
func CheckPrivilege(to Work) error {
	var missing []string
	for _, any := range least[to] {
		var names []string
		for _, c := range any {
			if kernel.Privileged(c) {
				names = nil
				break
			}
			names = append(names, kernel.CapabilityName(c))
		}
		if len(names) > 0 {
			missing = append(missing, strings.Join(names, " or "))
		}
	}
	switch {
	case len(missing) == 0:
		return nil
	case os.Geteuid() != 0:
		return fmt.Errorf("%w: rethaw must run as root: use sudo", ErrPrivilege)
	}
	return fmt.Errorf("%w: root here lacks %s: give rethaw these capabilities", ErrPrivilege, strings.Join(missing, ", "))
}

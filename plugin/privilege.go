package plugin

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/kernel"
)

// ErrPrivilege: this process may not do what a checkpoint or restore takes.
var ErrPrivilege = errors.New("missing privilege")

// CheckPrivilege tells whether this process has the capabilities without which neither
// a checkpoint nor a restore gets anywhere: tracing tasks, entering namespaces,
// reading files of any owner, killing and taking over ids.
func CheckPrivilege() error {
	names, err := kernel.MissingCapabilities(map[int]string{
		unix.CAP_SYS_PTRACE:      "CAP_SYS_PTRACE",
		unix.CAP_SYS_ADMIN:       "CAP_SYS_ADMIN",
		unix.CAP_SYS_CHROOT:      "CAP_SYS_CHROOT",
		unix.CAP_DAC_OVERRIDE:    "CAP_DAC_OVERRIDE",
		unix.CAP_DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH",
		unix.CAP_KILL:            "CAP_KILL",
		unix.CAP_SETUID:          "CAP_SETUID",
		unix.CAP_SETGID:          "CAP_SETGID",
	})
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return nil
	case os.Geteuid() != 0:
		return fmt.Errorf("%w: rethaw must run as root: use sudo", ErrPrivilege)
	}
	return fmt.Errorf("%w: root here lacks %s: give rethaw these capabilities", ErrPrivilege, strings.Join(names, ", "))
}

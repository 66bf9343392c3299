package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreUTS gives the container its names, if it has a UTS namespace of its own:
// the host's are not touched.
func restoreUTS(r *restorer) error {
	for _, u := range records[*specs.UTS](r) {
		theirs, err := os.Readlink(r.root.procPath("ns/uts"))
		if err != nil {
			return err
		}
		ours, err := os.Readlink("/proc/self/ns/uts")
		if err != nil {
			return err
		}
		if ours == theirs {
			return fmt.Errorf("%w: the container had the host name %q of its own, the fresh one uses the host's; give it a UTS namespace", ErrUnfit, u.Hostname)
		}
		err = r.within(func() error {
			if err := unix.Sethostname([]byte(u.Hostname)); err != nil {
				return fmt.Errorf("set host name %q: %w", u.Hostname, err)
			}
			if err := unix.Setdomainname([]byte(u.Domainname)); err != nil {
				return fmt.Errorf("set domain name %q: %w", u.Domainname, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

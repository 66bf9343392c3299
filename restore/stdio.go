package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func stdioKind() fileKind {
	return fileKind{
		record: &specs.Stdio{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			s := rec.(*specs.Stdio)
			if s.Role < 0 || s.Role > 2 || r.files.stdio[s.Role] == nil {
				return nil, fmt.Errorf("%w: the fresh container has no descriptor %d", ErrUnfit, s.Role)
			}
			// The same description: others that have it share it, as they did.
			fd, err := unix.FcntlInt(r.files.stdio[s.Role].Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			return os.NewFile(uintptr(fd), s.Was), nil
		},
	}
}

// takeStdio takes the placeholder's descriptors 0, 1 and 2, which the runtime
// gave it.
func (r *restorer) takeStdio() error {
	pidfd, err := unix.PidfdOpen(r.root.pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for i := range r.files.stdio {
		if fd, err := unix.PidfdGetfd(pidfd, i, 0); err == nil {
			r.files.stdio[i] = os.NewFile(uintptr(fd), "stdio")
		}
	}
	return nil
}

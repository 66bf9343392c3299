package restore

import (
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func signalfdKind() fileKind {
	return fileKind{
		record: &specs.Signalfd{},
		open: func(_ *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			s := rec.(*specs.Signalfd)
			// Sigset_t is wider than what the kernel takes.
			fd, _, errno := unix.Syscall6(unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&s.Mask)), 8, unix.SFD_CLOEXEC, 0, 0)
			if errno != 0 {
				return nil, errno
			}
			return based(os.NewFile(fd, "signalfd"), &s.Description)
		},
	}
}

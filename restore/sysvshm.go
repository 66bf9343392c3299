package restore

import (
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// attach has the task attach a System V segment, whole as shmat(2) does it.
func (b *builder) attach(what string, a specs.Area) {
	flags := uint64(0)
	if a.Prot&unix.PROT_WRITE == 0 {
		flags |= unix.SHM_RDONLY
	}
	if a.Prot&unix.PROT_EXEC != 0 {
		const shmExec = 0o100000
		flags |= shmExec
	}
	b.add(what, unix.SYS_SHMAT, uint64(a.Shmid-1), a.Start, flags)
}

package restore

import (
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func directoryKind() fileKind {
	return fileKind{
		record: &specs.Directory{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			d := rec.(*specs.Directory)
			if d.Ghost != 0 {
				f, err := r.openNamed(d.Path, "", d.Ghost, int(d.Flags)&^creation|unix.O_DIRECTORY)
				if err != nil {
					return nil, err
				}
				return f, setBase(f, &d.Description, true)
			}
			return openPath(d.Path, &d.Description, unix.O_DIRECTORY, true)
		},
	}
}

// openPath opens a path of the container as a description was.
func openPath(path string, base *specs.Description, extra int, seekable bool) (*os.File, error) {
	fd, err := unix.Open(path, int(base.Flags)&^creation|extra|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	return f, setBase(f, base, seekable)
}

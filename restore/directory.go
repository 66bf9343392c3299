package restore

import (
	"errors"
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
				f, err := r.openNamed(d.Path, "", d.Ghost, int(d.Flags)&^creation|unix.O_DIRECTORY, ofType(unix.S_IFDIR, "directory"))
				if err != nil {
					return nil, err
				}
				return f, setBase(f, &d.Description, true)
			}
			return r.openPath(d.Path, &d.Description, unix.O_DIRECTORY, true, ofType(unix.S_IFDIR, "directory"))
		},
	}
}

// openPath opens a path of the container as a description was, if fits finds nothing wrong with what is
// there.
func (r *restorer) openPath(path string, base *specs.Description, extra int, seekable bool, fits func(*unix.Stat_t) error) (*os.File, error) {
	f, err := r.reopen.open(path, int(base.Flags)&^creation|extra, fits)
	if err != nil {
		return nil, err
	}
	if err := setBase(f, base, seekable); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

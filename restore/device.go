package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func deviceKind() fileKind {
	return fileKind{
		record: &specs.Device{},
		open: func(_ *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			d := rec.(*specs.Device)
			f, err := openPath(d.Path, &d.Description, 0, false)
			if err != nil {
				return nil, err
			}
			var stat unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
				return nil, err
			}
			if unix.Major(stat.Rdev) != d.Major || unix.Minor(stat.Rdev) != d.Minor {
				return nil, fmt.Errorf("%w: %s is another device here", ErrUnfit, d.Path)
			}
			return f, nil
		},
	}
}

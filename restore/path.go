package restore

import (
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func pathKind() fileKind {
	return fileKind{
		record: &specs.Path{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			p := rec.(*specs.Path)
			extra := 0
			if p.Mode&unix.S_IFMT == unix.S_IFLNK {
				extra = unix.O_NOFOLLOW
			}
			if p.Ghost != 0 || p.Link != "" {
				return r.openNamed(p.Path, p.Link, p.Ghost, int(p.Flags)&^creation|extra, whatever)
			}
			return r.openPath(p.Path, &p.Description, extra, false, whatever)
		},
	}
}

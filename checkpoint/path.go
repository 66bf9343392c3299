package checkpoint

import (
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// pathKind saves files opened with O_PATH, whatever they are.
func pathKind() fileKind {
	return fileKind{
		name:   "O_PATH",
		is:     func(f *openFile) bool { return f.info.Flags&unix.O_PATH != 0 },
		refuse: refuseNamed,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			p := &specs.Path{Description: base, Path: f.link, Mode: f.stat.Mode}
			if there, err := d.reaches(f.link, &f.stat); there || err != nil {
				return p, err
			}
			p.Path = strings.TrimSuffix(f.link, deletedSuffix)
			if f.stat.Nlink > 0 {
				p.Link = d.otherName(f.link, &f.stat)
				return p, nil
			}
			var err error
			p.Ghost, err = d.ghost(f.path(), p.Path, &f.stat, 0)
			return p, err
		},
	}
}

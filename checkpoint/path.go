package checkpoint

import (
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// pathKind saves files opened with O_PATH, whatever they are.
func pathKind() fileKind {
	return fileKind{
		name:   "O_PATH",
		is:     func(f *openFile) bool { return f.info.Flags&unix.O_PATH != 0 },
		refuse: refuseNamed,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			return &specs.Path{Description: base, Path: f.link, Mode: f.stat.Mode}, nil
		},
	}
}

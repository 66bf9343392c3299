package checkpoint

import (
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func directoryKind() fileKind {
	return fileKind{
		name: "directory",
		is: func(f *openFile) bool {
			return f.stat.Mode&unix.S_IFMT == unix.S_IFDIR && !onProc(f)
		},
		refuse: refuseNamed,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			return &specs.Directory{Description: base, Path: f.link}, nil
		},
	}
}

// refuseNamed refuses a file that a path must lead to at restore and does not.
func refuseNamed(d *dump, f *openFile) error {
	if !d.mounts.inside(f.info.MntID) {
		return f.unsupported("leads out of the container", "close it, or start the container with it mounted")
	}
	if strings.HasSuffix(f.link, deletedSuffix) || !d.reaches(f.link, &f.stat) {
		return f.unsupported("was removed or renamed over", "close it before the checkpoint")
	}
	return nil
}

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
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			dir := &specs.Directory{Description: base, Path: f.link}
			var err error
			if f.stat.Nlink == 0 {
				dir.Path = strings.TrimSuffix(f.link, deletedSuffix)
				dir.Ghost, err = d.ghost(f.path(), dir.Path, &f.stat, 0)
			}
			return dir, err
		},
	}
}

// refuseNamed refuses a file that a path must lead to at restore and does not.
func refuseNamed(d *dump, f *openFile) error {
	if !d.mounts.inside(f.info.MntID) {
		return f.unsupported("leads out of the container", "close it, or start the container with it mounted")
	}
	if f.stat.Mode&unix.S_IFMT == unix.S_IFDIR && f.info.Flags&unix.O_PATH == 0 && d.dnotified(f) {
		return f.unsupported("is watched for changes (F_NOTIFY of fcntl(2))", "use inotify(7)")
	}
	kind := f.stat.Mode & unix.S_IFMT
	if f.stat.Nlink == 0 && (kind == unix.S_IFREG || kind == unix.S_IFDIR) {
		return nil
	}
	if there, err := d.reaches(f.link, &f.stat); err != nil {
		return &Error{"look at " + f.name(), f.proc.nspid, err}
	} else if there {
		return nil
	}
	if kind == unix.S_IFREG && d.otherName(f.link, &f.stat) != "" {
		return nil
	}
	return f.unsupported("was removed or renamed over", "close it before the checkpoint")
}

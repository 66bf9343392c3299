package checkpoint

import (
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Magic numbers of statfs(2).
const (
	procMagic    = 0x9fa0
	sysfsMagic   = 0x62656572
	cgroupMagic  = 0x27e0eb
	cgroup2Magic = 0x63677270
)

// procFileKind saves files and directories of procfs, sysfs and cgroups, which
// are made anew by their path: what they show is the kernel's.
func procFileKind() fileKind {
	return fileKind{
		name:   "file of a kernel filesystem",
		is:     onProc,
		refuse: refuseProc,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			return &specs.ProcFile{Description: base, Path: f.link, Dir: f.stat.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
		},
	}
}

func onProc(f *openFile) bool {
	if !strings.HasPrefix(f.link, "/") {
		return false
	}
	switch f.fsType() {
	case procMagic, sysfsMagic, cgroupMagic, cgroup2Magic:
		return true
	}
	return false
}

// fsType is the magic number of the file's filesystem, 0 if unknown.
func (f *openFile) fsType() int64 {
	known := f.d.files.fsTypes
	if t, ok := known[f.stat.Dev]; ok {
		return t
	}
	var fs unix.Statfs_t
	if unix.Statfs(f.path(), &fs) != nil {
		return 0
	}
	known[f.stat.Dev] = int64(fs.Type)
	return int64(fs.Type)
}

func refuseProc(d *dump, f *openFile) error {
	if !d.mounts.inside(f.info.MntID) {
		return f.unsupported("leads out of the container", "close it before the checkpoint")
	}
	if strings.HasSuffix(f.link, deletedSuffix) {
		return f.unsupported("belongs to a process that has ended", "close it before the checkpoint")
	}
	return nil
}

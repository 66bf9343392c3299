package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// stateless are the character devices whose open file has no state
// (Documentation/admin-guide/devices.txt): mem(4).
var stateless = map[[2]uint32]string{
	{1, 3}: "null", {1, 5}: "zero", {1, 7}: "full", {1, 8}: "random", {1, 9}: "urandom",
}

func deviceKind() fileKind {
	return fileKind{
		name: "character device",
		is: func(f *openFile) bool {
			_, known := stateless[f.device()]
			return f.stat.Mode&unix.S_IFMT == unix.S_IFCHR && known
		},
		refuse: refuseDevice,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			dev := f.device()
			return &specs.Device{Description: base, Path: f.link, Major: dev[0], Minor: dev[1]}, nil
		},
	}
}

// device is the number of the device that the file is.
func (f *openFile) device() [2]uint32 {
	return [2]uint32{unix.Major(f.stat.Rdev), unix.Minor(f.stat.Rdev)}
}

func refuseDevice(d *dump, f *openFile) error {
	if !d.mounts.inside(f.info.MntID) {
		return f.unsupported(fmt.Sprintf("is a device outside the container (%s)", stateless[f.device()]), "open the container's own")
	}
	return refuseNamed(d, f)
}

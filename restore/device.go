package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func deviceKind() fileKind {
	return fileKind{
		record: &specs.Device{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			d := rec.(*specs.Device)
			return r.openPath(d.Path, &d.Description, 0, false, theDevice(d.Major, d.Minor))
		},
	}
}

// mayOpenDevices asks the kernel whether the rules of the fresh container (its devices cgroup) allow
// the devices that the image has open, before a task gets them. We open them with our rights, to which those
// rules do not apply, and restoring must give nobody a device. The question is access(2) by the placeholder, which
// opens nothing. EPERM is the cgroup's answer; EACCES may be that of the file's mode, which says
// nothing: the program may have been another user when it opened the file.
func (r *restorer) mayOpenDevices() error {
	if r.img.Header().Host {
		return nil
	}
	for id, rec := range image.Each[*specs.Device](r.img) {
		if rec.Flags&unix.O_PATH != 0 || len(rec.Path) >= unix.PathMax {
			continue
		}
		data, at := r.root.arena.Data()
		copy(data, rec.Path+"\x00")
		mode := map[uint32]uint64{unix.O_RDONLY: unix.R_OK, unix.O_WRONLY: unix.W_OK}[rec.Flags&unix.O_ACCMODE]
		if rec.Flags&unix.O_ACCMODE == unix.O_RDWR {
			mode = unix.R_OK | unix.W_OK
		}
		_, err := r.call(r.root, unix.SYS_FACCESSAT, uint64(0xffffffffffffff9c), at, mode)
		if errors.Is(err, unix.EPERM) {
			return &Error{"open file", describe(id, rec), fmt.Errorf(
				"%w: the fresh container may not use device %d:%d (linux.resources.devices in config.json)", ErrUnfit, rec.Major, rec.Minor)}
		}
	}
	return nil
}

package checkpoint

import (
	"errors"
	"os"
	"path"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// POSIX message queues (mq_overview(7)) are refused: their messages can only be
// taken out, not looked at, so that saving one could lose it.

// mqueueMagic is the type of the filesystem that queues are on (ipc/mqueue.c).
const mqueueMagic = 0x19800202

const mqueueReason = "is a POSIX message queue, whose messages cannot be looked at without taking them"

func mqueueKind() fileKind {
	return fileKind{
		name: "POSIX message queue",
		is:   isMqueue,
		refuse: func(_ *dump, f *openFile) error {
			return f.unsupported(mqueueReason, "close and unlink it before the checkpoint")
		},
	}
}

// isMqueue tells queues from files: mq_open(3) opens them on the kernel's own
// mount of the filesystem.
func isMqueue(f *openFile) bool {
	if f.stat.Mode&unix.S_IFMT != unix.S_IFREG || f.info.Flags&unix.O_PATH != 0 {
		return false
	}
	if m := f.d.mounts.byID[f.info.MntID]; m != nil {
		return m.FSType == "mqueue"
	}
	own, err := f.dup()
	if err != nil {
		return false
	}
	var fs unix.Statfs_t
	return unix.Fstatfs(int(own.Fd()), &fs) == nil && fs.Type == mqueueMagic
}

// checkMqueues finds queues that nobody has open, where the container has mounted
// their filesystem.
func (d *dump) checkMqueues() []error {
	var problems []error
	for _, m := range d.mounts.byID {
		if m.FSType != "mqueue" {
			continue
		}
		dir, err := d.openMount(m)
		if err != nil {
			continue // hidden under another mount
		}
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, name := range names {
			problems = append(problems, d.unsupported(path.Join(m.Mountpoint, name), mqueueReason, "unlink it before the checkpoint"))
		}
	}
	return problems
}

// openMount opens the root of a mount of the tree, and nothing that hides it.
func (d *dump) openMount(m *mountinfo.Info) (*os.File, error) {
	fd, err := d.inRoot(m.Mountpoint, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, &os.PathError{Op: "open mount", Path: m.Mountpoint, Err: err}
	}
	f := os.NewFile(uintptr(fd), m.Mountpoint)
	var stat unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stat)
	if err == nil && stat.Mnt_id != uint64(m.ID) {
		err = errHidden
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "open mount", Path: m.Mountpoint, Err: err}
	}
	return f, nil
}

// errHidden tells of a mount that another one is mounted over.
var errHidden = errors.New("is hidden under another mount")

package checkpoint

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// mounts are those of the tree's mount namespace.
type mounts struct {
	byID map[int]*mountinfo.Info
	list []specs.Mount
	// text is mountinfo as it was read: most often the same as at the preflight.
	text []byte
}

// inside tells whether a mount belongs to the tree.
func (m *mounts) inside(id int) bool { return m.byID[id] != nil }

// enterRoot opens the root directory of the tree and reads its mounts.
func (d *dump) enterRoot() error {
	init := newProcess(d.target.Init)
	var err error
	if d.root, err = os.OpenFile(init.path("root"), unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return err
	}
	text, err := procfs.ReadFile(d.target.Init, "mountinfo")
	if err != nil || d.mounts.byID != nil && bytes.Equal(text, d.mounts.text) {
		return err
	}
	infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return err
	}
	d.mounts = mounts{byID: map[int]*mountinfo.Info{}, text: text}
	for _, i := range infos {
		d.mounts.byID[i.ID] = i
		d.mounts.list = append(d.mounts.list, specs.Mount{Point: i.Mountpoint, FSType: i.FSType, Source: i.Source, Root: i.Root})
	}
	return nil
}

// inRoot opens a path of the container as its root directory shows it, whatever links it has; how are
// further RESOLVE_* of openat2(2). It tries again where something was renamed anywhere on the machine meanwhile
// (EAGAIN), which says nothing of the path.
func (d *dump) inRoot(path string, flags, how uint64) (int, error) {
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(int(d.root.Fd()), "./"+path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | how})
		if !errors.Is(err, unix.EAGAIN) || tries == renames {
			return fd, err
		}
	}
}

// renames is how often inRoot tries.
const renames = 64

// saveFS writes working directory, root and umask, once for tasks that share
// them.
func (d *dump) saveFS() error {
	kin := newKin(kcmpFS)
	for _, p := range d.live() {
		if o := kin.add(p); o != nil {
			p.fs = o.fs
			continue
		}
		cwd, err := procfs.Readlink(p.at, "cwd")
		if err != nil {
			return err
		}
		root, err := procfs.Readlink(p.at, "root")
		if err != nil {
			return err
		}
		fs := &specs.FS{Cwd: cwd, Root: root, Umask: uint32(p.status.Umask)}
		var stat unix.Stat_t
		if err := unix.Stat(p.path("cwd"), &stat); err != nil {
			return &Error{"stat working directory", p.nspid, err}
		}
		if stat.Nlink == 0 {
			fs.Cwd = strings.TrimSuffix(cwd, deletedSuffix)
			if fs.Ghost, err = d.ghost(p.path("cwd"), fs.Cwd, &stat, 0); err != nil {
				return err
			}
		}
		p.fs = d.newID()
		if err := d.out.Put(p.fs, fs); err != nil {
			return err
		}
	}
	return nil
}

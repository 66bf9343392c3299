package checkpoint

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/pax"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// tmpfsArchive is the file of the image with the contents of all tmpfs mounts.
const tmpfsArchive = "tmpfs.tar"

// beginTmpfs begins to save what is in the container's tmpfs mounts, which needs nothing that the steps
// find out that come next, beside them. A stream has its own order, in which nothing comes before the records.
func (d *dump) beginTmpfs() error {
	if !d.target.Host && !d.out.Ordered() {
		d.tmpfs = beginning(func() error { return saveTmpfs(d) })
	}
	return nil
}

// endTmpfs waits until the contents are saved.
func (d *dump) endTmpfs() error {
	if d.tmpfs == nil {
		return saveTmpfs(d)
	}
	return d.tmpfs.wait()
}

// saveTmpfs saves the contents of the container's tmpfs mounts into one archive.
func saveTmpfs(d *dump) error {
	list, err := d.ownTmpfs()
	if err != nil || len(list) == 0 {
		return err
	}
	told := false
	return d.out.Fill(tmpfsArchive, func(to io.Writer) error {
		buffered := bufio.NewWriterSize(to, 64<<10)
		w := pax.NewWriter(buffered)
		for _, m := range list {
			r, err := d.saveMount(w, m)
			if err == nil && !told {
				err = d.out.Put(0, r)
			}
			if err != nil {
				return fmt.Errorf("save tmpfs %s: %w", m.Mountpoint, err)
			}
		}
		told = true
		if err := w.Close(); err != nil {
			return err
		}
		return buffered.Flush()
	})
}

// saveMount writes the files of one mount and describes it.
func (d *dump) saveMount(w *pax.Writer, m *mountinfo.Info) (*specs.Tmpfs, error) {
	r := &specs.Tmpfs{
		Point: m.Mountpoint, Archive: tmpfsArchive, Options: m.Options + "," + m.VFSOptions, Source: m.Source, Offset: w.Written(),
	}
	before := w.Entries()
	dir, err := d.openMount(m)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	walk := &tmpfsWalk{w: w, save: pax.NewSaver(w), mount: uint64(m.ID), links: map[uint64]hardLink{}}
	if err := walk.top(dir, strings.TrimPrefix(m.Mountpoint, "/")); err != nil {
		return nil, kernel.NeedFor(err, "files of all users can be read without a trace", unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER)
	}
	r.Bytes, r.Entries = w.Written()-r.Offset, w.Entries()-before
	return r, nil
}

// ownTmpfs finds the tmpfs mounts that belong to the container: each filesystem
// once, and none that the host has mounted too.
func (d *dump) ownTmpfs() ([]*mountinfo.Info, error) {
	chosen := map[string]*mountinfo.Info{}
	for _, m := range d.mounts.byID {
		if m.FSType != "tmpfs" || m.Mountpoint == "/" || runtimeOwn(m.Mountpoint) || d.hostOwns(m) {
			continue
		}
		if hidden, err := d.hidden(m); err != nil {
			return nil, err
		} else if hidden {
			continue
		}
		device := fmt.Sprintf("%d:%d", m.Major, m.Minor)
		if first := chosen[device]; first == nil || widerMount(m, first) < 0 {
			chosen[device] = m
		}
	}
	list := make([]*mountinfo.Info, 0, len(chosen))
	for _, m := range chosen {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *mountinfo.Info) int { return strings.Compare(a.Mountpoint, b.Mountpoint) })
	return list, nil
}

// widerMount puts the mount that shows more of a filesystem first, and of equals
// the older one.
func widerMount(a, b *mountinfo.Info) int {
	return cmp.Or(len(a.Root)-len(b.Root), a.ID-b.ID)
}

// runtimeOwn tells the mounts with which runtimes cover parts of /proc and /sys.
func runtimeOwn(point string) bool {
	return strings.HasPrefix(point, "/proc/") || strings.HasPrefix(point, "/sys/")
}

// hostMounts are the mount points of the host by the filesystems' devices.
func hostMounts() (map[[2]int][]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	infos, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil, err
	}
	points := map[[2]int][]string{}
	for _, i := range infos {
		key := [2]int{i.Major, i.Minor}
		points[key] = append(points[key], i.Mountpoint)
	}
	return points, nil
}

// hostOwns tells whether a mount shows a filesystem of the host. What engines
// mount on the host for the /dev/shm of one container is the container's.
func (d *dump) hostOwns(m *mountinfo.Info) bool {
	for _, point := range d.hostMounts[[2]int{m.Major, m.Minor}] {
		engine := strings.HasSuffix(point, "/userdata/shm") || strings.HasSuffix(point, "/mounts/shm")
		if m.Mountpoint != "/dev/shm" || !engine {
			return true
		}
	}
	return false
}

// hidden tells whether nobody can reach the mount by its path.
func (d *dump) hidden(m *mountinfo.Info) (bool, error) {
	dir, err := d.openMount(m)
	if errors.Is(err, errHidden) || slices.ContainsFunc(nowhere, func(none error) bool { return errors.Is(err, none) }) {
		d.log.WithField("mount", m.Mountpoint).Warn("the tmpfs is hidden under another mount: its contents are not saved")
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, dir.Close()
}

// checkMounts refuses filesystems in memory that are not saved.
func (d *dump) checkMounts() []error {
	var problems []error
	for _, m := range d.mounts.byID {
		if m.FSType == "ramfs" && !d.hostOwns(m) {
			problems = append(problems, d.unsupported("mount "+m.Mountpoint, "is a ramfs", "use a tmpfs"))
		}
		if (m.FSType == "hugetlbfs" || m.FSType == "bpf") && !d.hostOwns(m) && d.holdsFiles(m) {
			problems = append(problems, d.unsupported("mount "+m.Mountpoint, "is a "+m.FSType+" with files, whose contents are not saved",
				"remove them before the checkpoint"))
		}
	}
	return problems
}

// holdsFiles tells whether there is anything in the root directory of a mount.
func (d *dump) holdsFiles(m *mountinfo.Info) bool {
	dir, err := d.openMount(m)
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(1)
	return len(names) > 0
}

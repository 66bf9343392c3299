package checkpoint

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inotifyKind saves inotify(7) instances. The kernel knows inodes, not the paths
// by which they were named: these are looked for.
func inotifyKind() fileKind {
	return fileKind{
		name: "inotify",
		is:   anonymous("inotify"),
		refuse: func(d *dump, f *openFile) error {
			if d.out == nil {
				if _, err := d.inotifyWatches(f); err != nil {
					return err
				}
			}
			return refuseNews(d, f)
		},
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			// What is in the queue can only be taken out.
			if queued, err := unix.IoctlGetInt(int(own.Fd()), unix.TIOCINQ); err != nil || queued > 0 {
				if err != nil {
					return nil, err
				}
				return nil, f.unsupported("has events that the program has not read", "try again in a moment")
			}
			rec := &specs.Inotify{Description: base}
			rec.Watches, err = d.inotifyWatches(f)
			return rec, err
		},
	}
}

// inotifyWatches finds the paths of what an instance watches.
func (d *dump) inotifyWatches(f *openFile) ([]specs.InotifyWatch, error) {
	watches := make([]specs.InotifyWatch, 0, len(f.info.Inotify))
	lost := map[devIno][]int{}
	for _, line := range f.info.Inotify {
		w, err := procfs.ParseInotify(line)
		if err != nil {
			return nil, err
		}
		path := d.pathOfHandle(&w)
		if path == "" {
			key := devIno{unix.Mkdev(w.Major(), w.Minor()), w.Ino}
			lost[key] = append(lost[key], len(watches))
		}
		watches = append(watches, specs.InotifyWatch{WD: int32(w.WD), Path: path, Mask: w.Mask})
	}
	for key, path := range d.findPaths(lost) {
		for _, i := range lost[key] {
			watches[i].Path = path
		}
		delete(lost, key)
	}
	for key := range lost {
		return nil, f.unsupported(fmt.Sprintf("watches a file that has no path in the container (inode %d of device %d:%d)",
			key.ino, unix.Major(key.dev), unix.Minor(key.dev)), "remove the watch before the checkpoint")
	}
	slices.SortFunc(watches, func(a, b specs.InotifyWatch) int { return cmp.Compare(a.WD, b.WD) })
	return watches, nil
}

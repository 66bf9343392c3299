package restore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/pax"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restoreTmpfs gives every tmpfs of the container its contents in the place of
// what the runtime has put there. A mount that the fresh container lacks was
// made after the start, and is made again.
func restoreTmpfs(r *restorer) error {
	r.tmpfsLater = map[*specs.Tmpfs]*tmpfsLater{}
	return r.eachTmpfs(func(rec *specs.Tmpfs, archive io.ReaderAt, mounted []*mountinfo.Info) error {
		top, created, err := r.tmpfsMount(rec, mounted)
		if err != nil {
			return err
		}
		defer top.Close()
		f, err := newFiller(r, rec, archive, top)
		if err != nil {
			return err
		}
		if !created && f.readOnly {
			return nil // the runtime's own contents: nobody could change them
		}
		r.tmpfsLater[rec] = f.later
		if err := f.fill(); err != nil {
			// Of a stream it may not be known yet that it is damaged: that says more.
			if damage := r.img.Damage(); damage != nil {
				return damage
			}
			return f.explain(err)
		}
		if created && slices.Contains(strings.Split(rec.Options, ","), "ro") {
			return inDirectory(top, func() error {
				flags, data := mountOptions(rec.Options)
				return unix.Mount("", ".", "", flags|unix.MS_REMOUNT|unix.MS_RDONLY, data)
			})
		}
		return nil
	})
}

// finishTmpfs sets times once more: making and opening files has changed those of
// directories and of what was opened; and what forbids changes.
func finishTmpfs(r *restorer) error {
	return r.eachTmpfs(func(rec *specs.Tmpfs, _ io.ReaderAt, mounted []*mountinfo.Info) error {
		later := r.tmpfsLater[rec]
		if later == nil {
			return nil
		}
		top, err := openMount(rec.Point)
		if err != nil {
			return err
		}
		defer top.Close()
		f, err := newFiller(r, rec, nil, top)
		if err != nil || f.readOnly {
			return err
		}
		return f.finish(later)
	})
}

// eachTmpfs calls f inside the container's namespaces for each mount of the image,
// those on top of others later.
func (r *restorer) eachTmpfs(f func(rec *specs.Tmpfs, archive io.ReaderAt, mounted []*mountinfo.Info) error) error {
	list := r.tmpfsMounts()
	if len(list) == 0 {
		return nil
	}
	info, err := os.Open(r.root.procPath("mountinfo"))
	if err != nil {
		return err
	}
	defer info.Close()
	mounted, err := mountinfo.GetMountsFromReader(info, nil)
	if err != nil {
		return err
	}
	for _, rec := range list {
		archive, err := r.img.Contents(rec.Archive)
		if err != nil {
			return err
		}
		err = r.within(func() error { return f(rec, archive, mounted) })
		if err = errors.Join(err, archive.Close()); err != nil {
			return &Error{"restore", "tmpfs " + rec.Point, err}
		}
	}
	return nil
}

// tmpfsMount opens the mount, and makes it first if it is not there.
func (r *restorer) tmpfsMount(rec *specs.Tmpfs, mounted []*mountinfo.Info) (top *os.File, created bool, err error) {
	var there *mountinfo.Info
	for _, m := range mounted {
		if m.Mountpoint == rec.Point {
			there = m // the last one is on top
		}
	}
	if there == nil {
		if err := makeMount(rec); err != nil {
			return nil, false, fmt.Errorf("mount it as it was mounted after the container's start: %w", err)
		}
	} else if foreign, err := r.foreign(there); err != nil {
		return nil, false, err
	} else if foreign {
		return nil, false, fmt.Errorf("%w: the fresh container has something else there (%s from the host), which is not to be overwritten; mount a tmpfs there", ErrUnfit, there.FSType)
	}
	top, err = openMount(rec.Point)
	return top, there == nil, err
}

// foreign tells whether a mount of the fresh container is no tmpfs, or one of the host. What
// engines mount on the host for one container's /dev/shm is the container's.
func (r *restorer) foreign(m *mountinfo.Info) (bool, error) {
	if m.FSType != "tmpfs" {
		return true, nil
	}
	var host []*mountinfo.Info
	err := outside(func() (err error) {
		host, err = mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
			engine := strings.HasSuffix(i.Mountpoint, "/userdata/shm") || strings.HasSuffix(i.Mountpoint, "/mounts/shm")
			return i.Major != m.Major || i.Minor != m.Minor || (m.Mountpoint == "/dev/shm" && engine), false
		})
		return err
	})
	return len(host) > 0, err
}

// openMount opens the root of a mount; its path has no links.
func openMount(point string) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, point, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: point, Err: err}
	}
	return os.NewFile(uintptr(fd), point), nil
}

// makeMount mounts a tmpfs, on a directory that is made if it is missing.
func makeMount(rec *specs.Tmpfs) error {
	dir, err := makePath(rec.Point)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags, data := mountOptions(rec.Options)
	return inDirectory(dir, func() error { return unix.Mount(rec.Source, ".", "tmpfs", flags&^unix.MS_RDONLY, data) })
}

// makePath opens a directory, and makes what is missing of its path; it follows no
// links.
func makePath(path string) (*os.File, error) {
	dir, err := openMount("/")
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := unix.Openat(int(dir.Fd()), part, flags, 0)
		if errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(int(dir.Fd()), part, 0o755); err == nil {
				fd, err = unix.Openat(int(dir.Fd()), part, flags, 0)
			}
			if err == nil { // our umask is none of the container's business
				err = unix.Fchmod(fd, 0o755)
			}
		}
		dir.Close()
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		dir = os.NewFile(uintptr(fd), part)
	}
	return dir, nil
}

// inDirectory calls f with dir as the working directory of the thread, which has
// one of its own.
func inDirectory(dir *os.File, f func() error) error {
	if err := unix.Fchdir(int(dir.Fd())); err != nil {
		return err
	}
	return errors.Join(f(), unix.Chdir("/"))
}

// mountFlags are the options of mountinfo that are flags of mount(2).
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC, "lazytime": unix.MS_LAZYTIME, "nosymfollow": unix.MS_NOSYMFOLLOW,
}

// mountOptions divides options into flags and those of tmpfs itself.
func mountOptions(options string) (flags uintptr, data string) {
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		flag, known := mountFlags[o]
		switch {
		case known:
			flags |= flag
		case o != "" && o != "rw" && o != "seclabel":
			rest = append(rest, o)
		}
	}
	if flags&(unix.MS_RELATIME|unix.MS_NOATIME) == 0 {
		flags |= unix.MS_STRICTATIME
	}
	return flags, strings.Join(rest, ",")
}

// newFiller prepares to work on a mount that is open.
func newFiller(r *restorer, rec *specs.Tmpfs, archive io.ReaderAt, top *os.File) (*filler, error) {
	f := &filler{r: r, rec: rec, archive: archive, top: top, later: &tmpfsLater{}, prefix: strings.TrimPrefix(rec.Point, "/")}
	var stat unix.Statx_t
	if err := unix.Statx(int(top.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stat); err != nil {
		return nil, err
	}
	f.mount = stat.Mnt_id
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(top.Fd()), &fs); err != nil {
		return nil, err
	}
	if fs.Type != unix.TMPFS_MAGIC {
		return nil, fmt.Errorf("%w: it is hidden under another mount", ErrUnfit)
	}
	f.readOnly = fs.Flags&unix.ST_RDONLY != 0
	f.size = int64(fs.Blocks) * fs.Bsize
	f.entries = pax.NewReader(archive, rec.Offset, rec.Offset+rec.Bytes)
	return f, nil
}

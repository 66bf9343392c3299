package checkpoint

import (
	"fmt"
	"os"
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// memfdPrefix is what the kernel puts before the name of a memfd (mm/memfd.c).
const memfdPrefix = "/memfd:"

func memfdKind() fileKind {
	return fileKind{
		name: "memfd",
		is: func(f *openFile) bool {
			return f.stat.Mode&unix.S_IFMT == unix.S_IFREG && f.info.Flags&unix.O_PATH == 0 &&
				memfdLink(f.link) && !f.d.mounts.inside(f.info.MntID)
		},
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			o, err := d.sharedObject("memfd", f.path(), f.link, &f.stat)
			if err != nil {
				return nil, err
			}
			m := &specs.Memfd{Description: base, Object: o.id}
			if base.Flags&unix.O_ACCMODE == unix.O_RDWR && !o.original {
				m.Original, o.original = true, true
			}
			return m, nil
		},
	}
}

// memfdLink tells whether a link of /proc leads to a memfd, or to what looks like
// one.
func memfdLink(link string) bool {
	return strings.HasPrefix(link, memfdPrefix) && strings.HasSuffix(link, deletedSuffix)
}

// onShmem tells whether a file is on the filesystem of the kernel's own that
// memfds are on.
func onShmem(stat *unix.Stat_t) bool {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var own unix.Stat_t
	return unix.Fstat(fd, &own) == nil && own.Dev == stat.Dev
}

// describeMemfd fills in what belongs to a memfd and to no other shared memory.
func describeMemfd(r *specs.Shared, f *os.File, link string, stat *unix.Stat_t) error {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("read seals: %w", err)
	}
	r.Name = strings.TrimSuffix(strings.TrimPrefix(link, memfdPrefix), deletedSuffix)
	r.Seals, r.Mode, r.UID, r.GID = uint32(seals), stat.Mode&0o7777, stat.Uid, stat.Gid
	r.Mtime, r.Atime = stat.Mtim.Nano(), stat.Atim.Nano()
	return nil
}

// secretKind refuses memfd_secret(2), whose pages not even the kernel can read.
func secretKind() fileKind {
	return fileKind{
		name: "secret memory",
		is:   func(f *openFile) bool { return f.link == secretLink+deletedSuffix && !f.d.mounts.inside(f.info.MntID) },
		refuse: func(_ *dump, f *openFile) error {
			return f.unsupported("is secret memory (memfd_secret), which nobody but its owner can read", "close it before the checkpoint")
		},
	}
}

const secretLink = "/secretmem"

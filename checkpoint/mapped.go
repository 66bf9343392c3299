package checkpoint

import (
	"fmt"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// refuseMapped refuses a mapping of something that could not be mapped again. The
// preflight calls it for each area; at the stop the savers find the same.
func (d *dump) refuseMapped(p *process, v *procfs.VMA) error {
	if noFile(v) || sharedKind(v) != "" || v.Path == hugeAnonymous {
		return nil
	}
	name := fmt.Sprintf("map_files/%x-%x", v.Start, v.End)
	return d.refuseBacking(p, v, name)
}

func (d *dump) refuseBacking(p *process, v *procfs.VMA, name string) error {
	var stat unix.Stat_t
	if unix.Stat(p.path("%s", name), &stat) != nil {
		return nil // it has been unmapped since
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFCHR {
		return notZero(p, v, &stat)
	}
	if err := notRegular(p, v, &stat); err != nil {
		return err
	}
	link, err := procfs.Readlink(p.pid, name)
	if err != nil || stat.Nlink == 0 {
		return nil
	}
	return d.refuseLostInode(p, areaName(v), link, &stat)
}

// refuseLostInode refuses a file in use of no descriptor's that has a name, but not
// the one that the kernel tells, and none that can be found.
func (d *dump) refuseLostInode(p *process, object, link string, stat *unix.Stat_t) error {
	key := inodeKey{dev: stat.Dev, ino: stat.Ino}
	if d.files.found[key] == link {
		return nil
	}
	if there, err := d.reaches(link, stat); err != nil {
		return &Error{"look at " + object, p.nspid, err}
	} else if !there && d.otherName(link, stat) == "" {
		return p.unsupported(object, "its path leads to another file now, or to none in the container", "put the file back before the checkpoint")
	}
	d.files.found[key] = link
	return nil
}

// checkExe refuses a program file that could not be found again.
func (d *dump) checkExe(p *process) error {
	var stat unix.Stat_t
	link, err := procfs.Readlink(p.pid, "exe")
	if err != nil || unix.Stat(p.path("exe"), &stat) != nil || stat.Nlink == 0 {
		return nil
	}
	return d.refuseLostInode(p, "program ("+link+")", link, &stat)
}

// notZero refuses devices but /dev/zero mapped privately, which is anonymous memory
// with a name.
func notZero(p *process, v *procfs.VMA, stat *unix.Stat_t) error {
	if unix.Major(stat.Rdev) != 1 || unix.Minor(stat.Rdev) != 5 || v.Shared {
		return p.unsupported(areaName(v), "maps a device", "unmap it before the checkpoint")
	}
	return nil
}

// notRegular refuses what is neither a regular file nor shared memory.
func notRegular(p *process, v *procfs.VMA, stat *unix.Stat_t) error {
	if stat.Mode&unix.S_IFMT == unix.S_IFREG && !strings.HasPrefix(v.Path, "/[aio]") {
		return nil
	}
	for _, k := range unknownKinds {
		if strings.HasPrefix(v.Path, k.link) {
			return p.unsupported(areaName(v), "maps "+k.what, "unmap it before the checkpoint")
		}
	}
	return p.unsupported(areaName(v), "maps something that is no regular file", "unmap it before the checkpoint")
}

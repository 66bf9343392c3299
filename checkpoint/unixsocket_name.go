package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// saveUnixName fills in the name, where the file that it stands for is now, and
// whether the socket is bound to it or has it from the socket that accepted it.
func (d *dump) saveUnixName(f *openFile, info *socketInfo, s *specs.UnixSocket) error {
	own, err := f.dup()
	if err != nil {
		return err
	}
	fd := int(own.Fd())
	if s.Name, err = afunix.Name(fd); err != nil || len(s.Name) == 0 {
		return err
	}
	magic := ""
	if !afunix.Abstract(s.Name) {
		file, err := afunix.File(fd)
		if err != nil {
			return fmt.Errorf("file of the socket %s: %w", afunix.String(s.Name), err)
		}
		defer file.Close()
		if err := d.saveUnixFile(f, file, s); err != nil {
			return err
		}
		magic = fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	}
	if s.State == "connected" && s.Kind != unix.SOCK_DGRAM {
		s.Accepted, err = d.accepted(info, s, magic)
	}
	return err
}

// saveUnixFile fills in what is known of the socket's file.
func (d *dump) saveUnixFile(f *openFile, file *os.File, s *specs.UnixSocket) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return err
	}
	s.Mode, s.UID, s.GID = stat.Mode, stat.Uid, stat.Gid
	s.Atime, s.Mtime = stat.Atim.Nano(), stat.Mtim.Nano()
	link, err := procfs.Readlink(os.Getpid(), fmt.Sprintf("fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	if stat.Nlink == 0 || strings.HasSuffix(link, deletedSuffix) {
		s.Unlinked = true
		return nil
	}
	info, err := procfs.ReadFDInfo(os.Getpid(), int(file.Fd()))
	if err != nil {
		return err
	}
	if !d.mounts.inside(info.MntID) {
		return f.unsupported("its path "+string(s.Name)+" is outside the container", "start the container with that directory mounted")
	}
	if there, err := d.reaches(link, &stat); err != nil {
		return &Error{"look at " + link + " of " + f.name(), f.proc.nspid, err}
	} else if !there {
		return f.unsupported("its path "+link+" is hidden by another file or mount", "reach the path again before the checkpoint")
	}
	s.Path = link
	return nil
}

// accepted tells whether a connected socket has its name without being bound to
// it. Nothing but the kernel's own tables of bound sockets tells the difference: so
// the same name is tried, on a socket that is thrown away. For a path the kind
// of that socket is a wrong one, so that the attempt leaves no trace.
func (d *dump) accepted(info *socketInfo, s *specs.UnixSocket, magic string) (bool, error) {
	for _, o := range d.sockets.byInode {
		if o.State == afunix.Listen && o.Type == info.Type && o.FileInode == info.FileInode && bytes.Equal(o.Name, info.Name) && o.home {
			return true, nil
		}
	}
	if magic == "" {
		err := ns.Enter(d.target.Init, ns.Net, func() error {
			return withSocket(info.Type, func(fd int) error { return afunix.Bind(fd, s.Name) })
		})
		if errors.Is(err, unix.EADDRINUSE) {
			return false, nil
		}
		return err == nil, err
	}
	err := withSocket(unix.SOCK_DGRAM, func(fd int) error { return afunix.Connect(fd, []byte(magic)) })
	switch {
	case errors.Is(err, unix.EPROTOTYPE):
		return false, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return true, nil
	case err == nil:
		return false, fmt.Errorf("the socket at %s has turned into another", afunix.String(s.Name))
	}
	return false, err
}

// withSocket runs f with a socket that is closed afterwards.
func withSocket(kind int, f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

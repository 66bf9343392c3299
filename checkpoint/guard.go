package checkpoint

import (
	"slices"

	"github.com/rethaw/rethaw/internal/watchdog"
	"golang.org/x/sys/unix"
)

// watch starts the watchdog, and tells whether it waits. A checkpoint goes on without it: most of
// what it does needs it only if we are killed.
func (d *dump) watch() bool {
	ready, err := d.dog.Ready()
	if err != nil {
		d.log.WithError(err).Warn("no watchdog: if this is killed, the container may see it")
		d.dog.Launch = nil
	}
	return ready && err == nil
}

// hasSockets tells whether any of the files is a socket, of which an option may have to be set that its program could
// see: then the watchdog should be awake.
func (fs *files) hasSockets() bool {
	return slices.ContainsFunc(fs.all, func(f *openFile) bool { return f.stat.Mode&unix.S_IFMT == unix.S_IFSOCK })
}

// guard has the watchdog put options of a socket of the tree back if we die before forget is
// called, at once.
func (d *dump) guard(fd int, options ...watchdog.Option) (forget func() error, err error) {
	if err := d.dog.Awake(); err != nil {
		return nil, err
	}
	return d.dog.Guard(watchdog.Undo{Options: options}, fd)
}

// guardRepair is guard for a connection that is put into repair mode, which takes the place of
// SO_REUSEADDR in the kernel. With quiet it counts as long as the process that has it lives: when
// that is killed, nothing must be said to the peer.
func (d *dump) guardRepair(s *inetSocket, off, reuse int, quiet bool) (forget func() error, err error) {
	u := watchdog.Undo{Options: []watchdog.Option{
		{Level: unix.IPPROTO_TCP, Name: unix.TCP_REPAIR, Value: off},
		{Level: unix.SOL_SOCKET, Name: unix.SO_REUSEADDR, Value: reuse},
	}}
	if quiet {
		u.While = &watchdog.Process{Pid: s.f.proc.pid, Start: s.f.proc.stat.StartTime}
	}
	if err := d.dog.Awake(); err != nil {
		return nil, err
	}
	return d.dog.Guard(u, s.fd)
}

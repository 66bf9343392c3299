package checkpoint

import (
	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// end says where the other end of a connection is.
type end int

const (
	// endInside: a descriptor of the tree leads to it.
	endInside end = iota
	// endWaiting: it waits in the queue of a listening socket of the tree.
	endWaiting
	// endGone: it is closed. What arrives there is answered by a reset.
	endGone
	// endOutside: another task or another machine has it.
	endOutside
)

// peer finds the other end of a connection; f is its file, or that of the
// listening socket.
func (d *dump) peer(s *inetSocket) (where end, f *openFile, err error) {
	want := s.pair().mirror()
	if f, err = d.inet.find(d, want); f != nil || err != nil {
		return endInside, f, err
	}
	if err := d.inet.list(d, false); err != nil {
		return endOutside, nil, err
	}
	sock, listed := d.inet.listed[want]
	if d.out == nil && !listed && d.inet.local(want.local.Addr()) {
		// While the tasks run it may have come to be a moment ago.
		if err := d.inet.list(d, true); err != nil {
			return endOutside, nil, err
		}
		sock, listed = d.inet.listed[want]
	}
	switch {
	case !listed && d.inet.local(want.local.Addr()):
		return endGone, nil, nil
	case !listed:
		return endOutside, nil, nil
	case sock.Inode != 0:
		// A task may have got it a moment ago, or it is in flight.
		if d.out == nil && (d.files.inFlight() || d.holds(uint64(sock.Inode))) {
			return endInside, nil, nil
		}
		return endOutside, nil, nil
	}
	switch sock.State {
	case inet.SynRecv, inet.Established, inet.CloseWait:
		if f = d.listener(want.local.Port(), func(l *inetSocket) bool {
			a := inet.AddrPort(l.local).Addr()
			return a.IsUnspecified() || a == want.local.Addr()
		}); f != nil {
			return endWaiting, f, nil
		}
		return endOutside, nil, nil
	}
	return endGone, nil, nil
}

// find gives the tree's socket with these ends, nil if there is none.
func (n *inetSockets) find(d *dump, want pair) (*openFile, error) {
	if n.tree == nil {
		n.tree = map[pair]*openFile{}
	}
	for ; n.seen < len(d.files.all); n.seen++ {
		f := d.files.all[n.seen]
		if !inetSocketKind().is(f) {
			continue
		}
		ends, err := f.ends()
		if err != nil {
			return nil, &Error{"ask for the ends of " + f.name(), f.proc.nspid, err}
		}
		if ends != nil {
			n.tree[*ends] = f
		}
	}
	return n.tree[want], nil
}

// ends gives the addresses of a connected stream socket, nil for another.
func (f *openFile) ends() (*pair, error) {
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	fd := int(own.Fd())
	kind, err := inet.Int(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, err
	}
	local, err := inet.Name(fd)
	if err != nil {
		return nil, err
	}
	remote, err := inet.Peer(fd)
	if err != nil || remote == nil {
		return nil, err
	}
	return &pair{inet.AddrPort(local), inet.AddrPort(remote)}, nil
}

// listener finds a listening socket of the tree.
func (d *dump) listener(port uint16, fits func(*inetSocket) bool) *openFile {
	for _, f := range d.files.all {
		if !inetSocketKind().is(f) {
			continue
		}
		s, err := d.lookInet(f)
		if err == nil && s.state == inet.Listen && inet.AddrPort(s.local).Port() == port && fits(s) {
			return f
		}
	}
	return nil
}

// holds tells whether a task of the tree has a descriptor for a socket now.
func (d *dump) holds(inode uint64) bool {
	for _, p := range d.live() {
		fds, err := procfs.ListFDs(p.at)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			var stat unix.Stat_t
			if unix.Stat(p.path("fd/%d", fd), &stat) == nil && stat.Ino == inode && stat.Mode&unix.S_IFMT == unix.S_IFSOCK {
				return true
			}
		}
	}
	return false
}

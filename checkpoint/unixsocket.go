package checkpoint

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// unixSocketKind saves unix(7) sockets. Nothing is taken out of a queue and no
// state of a socket is changed, but for SO_PEEK_OFF while a queue is read. What
// belongs to which is told by sock_diag(7): unixsocket_index.go; names
// stand in unixsocket_name.go, queues in unixsocket_queue.go, the other ends and their
// credentials in unixsocket_peer.go.
func unixSocketKind() fileKind {
	return fileKind{
		name:     "unix socket",
		is:       isUnix,
		refuse:   refuseUnix,
		save:     saveUnix,
		complete: completeUnix,
	}
}

func isUnix(f *openFile) bool {
	family, err := socketFamily(f)
	return err == nil && family == unix.AF_UNIX
}

func refuseUnix(d *dump, f *openFile) error {
	info, err := d.sockets.find(d, f.stat.Ino)
	if err != nil {
		return err
	}
	if info == nil {
		if !d.stands() {
			return nil // closed meanwhile, or made just now
		}
		return f.unsupported("belongs to a network namespace that no task is in", "close it before the checkpoint")
	}
	own, err := f.dup()
	if err != nil {
		return err
	}
	if events(int(own.Fd()))&unix.POLLPRI != 0 {
		return f.unsupported("has out-of-band data in its queue", "let the program read it first (recv with MSG_OOB)")
	}
	if _, err := socketFilter(int(own.Fd())); errors.Is(err, errFilter) {
		return f.unsupported(errFilter.Error(), "let the program detach it (SO_DETACH_FILTER)")
	}
	if err := d.refusePeer(f, info); err != nil {
		return err
	}
	// An accepted socket belongs to its client's namespace, where it occupies no
	// name.
	connection := info.HasPeer && info.Type != unix.SOCK_DGRAM
	if afunix.Abstract(info.Name) && !info.home && !connection {
		return f.unsupported("has a name in another network namespace than the container's", "close it before the checkpoint")
	}
	if info.State == afunix.Listen {
		return d.refusePending(f, info)
	}
	return nil
}

// events tells what poll(2) says of a descriptor, without waiting.
func events(fd int) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLPRI}}
	if _, err := unix.Poll(p, 0); err != nil {
		return 0
	}
	return p[0].Revents
}

func saveUnix(d *dump, f *openFile, base specs.Description) (specs.File, error) {
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	fd := int(own.Fd())
	info, err := d.sockets.find(d, f.stat.Ino)
	if err != nil || info == nil {
		return nil, errors.Join(err, fmt.Errorf("sock_diag does not know socket %d", f.stat.Ino))
	}
	s := &specs.UnixSocket{
		Description: base, Inode: f.stat.Ino, Kind: int32(info.Type), State: unixState(info), Shutdown: int32(info.Shutdown),
		InodeMode: f.stat.Mode, InodeUID: f.stat.Uid, InodeGID: f.stat.Gid,
		Reset: events(fd)&unix.POLLERR != 0,
	}
	if info.State == afunix.Listen {
		s.Backlog = int32(info.Sent)
	}
	if s.Options, err = socketOptions(fd); err != nil {
		return nil, err
	}
	off, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return nil, err
	}
	s.PeekOff = int32(off) + 1
	if err := d.saveUnixName(f, info, s); err != nil {
		return nil, err
	}
	if err := d.peerCredentials(f, s); err != nil {
		return nil, err
	}
	if info.State != afunix.Listen {
		s.Queue, err = d.readQueue(f, info, s)
	}
	return s, err
}

// unixState is what a socket does, in words.
func unixState(info *socketInfo) string {
	switch {
	case info.State == afunix.Listen:
		return "listening"
	case info.HasPeer:
		return "connected"
	}
	return "unconnected"
}

// completeUnix finds the other ends, when every socket has its number.
func completeUnix(d *dump, f *openFile) error {
	s := f.record.(*specs.UnixSocket)
	info, err := d.sockets.find(d, f.stat.Ino)
	if err != nil {
		return err
	}
	if info.State == afunix.Listen {
		return d.savePending(f, info, s)
	}
	if !info.HasPeer || s.Peer != 0 {
		return nil
	}
	if info.Peer != 0 {
		peer := d.socketByInode(info.Peer)
		if peer == nil {
			return d.peerIsOutside(f, info)
		}
		s.Peer = peer.id
		return nil
	}
	if listener := d.sockets.waitsAt(f.stat.Ino); listener != 0 {
		// The listening socket's completion knows it.
		return nil
	}
	own, err := f.dup()
	if err != nil {
		return err
	}
	s.PeerName, err = afunix.PeerName(int(own.Fd()))
	if errors.Is(err, unix.ENOTCONN) {
		err = nil
	}
	return err
}

// socketByInode finds the description of a socket.
func (d *dump) socketByInode(inode uint64) *openFile {
	i := slices.IndexFunc(d.files.all, func(f *openFile) bool {
		return f.stat.Ino == inode && f.stat.Mode&unix.S_IFMT == unix.S_IFSOCK
	})
	if i < 0 {
		return nil
	}
	return d.files.all[i]
}

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// peerOutside tells whether a socket at a place of stdio is connected to one
// that no task of the tree has.
func (d *dump) peerOutside(f *openFile) bool {
	given := slices.Contains(d.target.Stdio, f.link)
	if !isUnix(f) {
		return given
	}
	info, err := d.sockets.find(d, f.stat.Ino)
	if err != nil || info == nil || !info.HasPeer || d.sockets.waitsAt(f.stat.Ino) != 0 {
		return false
	}
	if info.Peer == 0 {
		// Closed. What the runtime gave is not the program's own.
		return given
	}
	return d.socketByInode(info.Peer) == nil && (given || d.sockets.holder(info.Peer) != 0)
}

// refusePeer refuses a socket whose other end a process outside the tree has.
// An end that nobody has may be in flight inside: completeUnix decides.
func (d *dump) refusePeer(f *openFile, info *socketInfo) error {
	other := info.Peer
	if other == 0 {
		other = d.sockets.waitsAt(f.stat.Ino)
	}
	if !info.HasPeer || other == 0 || d.socketByInode(other) != nil {
		return nil
	}
	holder := d.sockets.holder(other)
	if holder == 0 || slices.Contains(d.livePids(), holder) {
		return nil
	}
	return d.peerIsOutside(f, info)
}

// peerIsOutside is the refusal of a socket with one end outside.
func (d *dump) peerIsOutside(f *openFile, info *socketInfo) error {
	who := "a process outside the container"
	if pid := d.sockets.holder(info.Peer); pid != 0 {
		if stat, err := procfs.ReadStat(pid); err == nil {
			who = fmt.Sprintf("process %d (%s) outside the container", pid, stat.Comm)
		}
	}
	return f.unsupported("is connected to "+who, "end that connection before the checkpoint")
}

// peerCredentials fills in SO_PEERCRED and SO_PEERGROUPS.
func (d *dump) peerCredentials(f *openFile, s *specs.UnixSocket) error {
	own, err := f.dup()
	if err != nil {
		return err
	}
	cred, err := unix.GetsockoptUcred(int(own.Fd()), unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("getsockopt(SO_PEERCRED)", err)
	}
	if cred.Pid == 0 && cred.Uid == ^uint32(0) {
		return nil // never connected
	}
	s.HasPeerCred, s.PeerUID, s.PeerGID = true, cred.Uid, cred.Gid
	if s.PeerPID, err = d.peerPID(f, int(cred.Pid)); err != nil {
		return err
	}
	s.PeerGroups, err = peerGroups(int(own.Fd()))
	return err
}

// peerPID turns a host's pid into what the tree's tasks see. Of a process that is
// dead only the number is left, which the kernel tells to each pid namespace
// in its own terms: so a task is asked.
func (d *dump) peerPID(f *openFile, host int) (int32, error) {
	if host == 0 {
		return 0, nil
	}
	if pid, ok := d.living(host); ok {
		return pid, nil
	}
	if d.target.Host {
		if _, err := procfs.ReadStat(host); err == nil {
			return 0, f.unsupported(fmt.Sprintf("its peer credentials name process %d, which is outside the tree", host),
				"checkpoint a tree that includes that process")
		}
		return int32(host), nil
	}
	if f.flight {
		return d.peerInFlight(f)
	}
	var pid int32
	err := d.inquire(f.proc, func(q *inquiry) {
		const credSize = 12 // struct ucred, then its length
		binary.NativeEndian.PutUint32(q.room[credSize:], credSize)
		q.ask(credSize+4, func(ret int64, b []byte) {
			if ret == 0 {
				pid = int32(word32(b))
			}
		}, unix.SYS_GETSOCKOPT, uint64(f.fd), unix.SOL_SOCKET, unix.SO_PEERCRED, out, q.at+credSize)
	})
	return pid, err
}

// peerInFlight is peerPID for a socket that no task has, and so none can be asked
// about.
func (d *dump) peerInFlight(f *openFile) (int32, error) {
	k, err := d.kernelMemory()
	if err != nil {
		return 0, f.unsupported("its peer credentials name a process that is dead or outside, which this kernel does not show ("+err.Error()+")",
			"let the program receive it first")
	}
	own, err := f.dup()
	if err != nil {
		return 0, err
	}
	sock, err := k.Private(int(own.Fd()))
	if err != nil {
		return 0, err
	}
	pid, err := k.Follow(sock, "socket.sk", "sock.sk_peer_pid")
	if err != nil {
		return 0, err
	}
	return (&pendingReader{d: d, k: k}).number(pid)
}

// living gives the tree's number of a process of the tree.
func (d *dump) living(host int) (int32, bool) {
	for _, p := range d.procs {
		if p.pid == host {
			return int32(p.nspid), true
		}
	}
	return 0, false
}

// peerGroups reads SO_PEERGROUPS: the supplementary groups of the other end when
// the connection was made.
func peerGroups(fd int) ([]uint32, error) {
	const soPeerGroups = 59
	size := uint32(4 * 64)
	for {
		b := make([]uint32, size/4+1)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, soPeerGroups,
			uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return b[:size/4], nil
		case unix.ERANGE: // size tells now how much there is
		case unix.ENODATA, unix.ENOPROTOOPT:
			return nil, nil
		default:
			return nil, os.NewSyscallError("getsockopt(SO_PEERGROUPS)", errno)
		}
	}
}

// refusePending refuses connections that wait to be accepted from outside.
func (d *dump) refusePending(f *openFile, info *socketInfo) error {
	for _, client := range info.Pending {
		file := d.socketByInode(client)
		if sent, err := d.sentBefore(file); err == nil && sent && (client == 0 || file != nil) {
			if _, err := d.kernelMemory(); err != nil {
				return d.blindToPending(f, err)
			}
		}
		if client == 0 || file != nil {
			continue
		}
		if holder := d.sockets.holder(client); holder != 0 && !slices.Contains(d.livePids(), holder) {
			return f.unsupported(fmt.Sprintf("process %d outside the container waits to be accepted", holder),
				"let the program accept the connection first")
		}
	}
	return nil
}

// savePending writes the connections that wait at a listening socket: each is a
// socket that exists already, though no descriptor leads to it.
func (d *dump) savePending(f *openFile, info *socketInfo, s *specs.UnixSocket) error {
	for i, inode := range info.Pending {
		e := &specs.UnixSocket{
			Kind: s.Kind, State: "connected", Name: s.Name, Path: s.Path, Unlinked: s.Unlinked,
			Accepted: true, Detached: true,
		}
		var client *openFile
		if inode != 0 {
			if client = d.socketByInode(inode); client == nil {
				return f.unsupported("a process outside the container waits to be accepted", "let the program accept the connection first")
			}
			e.Peer = client.id
		}
		if err := d.savePendingState(f, i, client, e); err != nil {
			return err
		}
		id := d.newID()
		if client != nil {
			client.record.(*specs.UnixSocket).Peer = id
		}
		if err := d.out.Put(id, e); err != nil {
			return err
		}
		s.Pending = append(s.Pending, id)
	}
	return nil
}

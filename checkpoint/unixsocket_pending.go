package checkpoint

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// A connection that is not accepted yet is a socket without a descriptor: no
// system call looks into its queue, and accepting it would take it away from the
// program. So the kernel's memory is read (package kmem). Without that, connections that
// nothing was sent over are saved all the same.

// kernelMemory opens the kernel's memory when first asked for.
func (d *dump) kernelMemory() (*kmem.Reader, error) {
	d.openKernel()
	return d.kernel.get()
}

// openKernel begins to: it takes half a millisecond.
func (d *dump) openKernel() {
	if d.kernel == nil {
		d.kernel = begin(kmem.Open)
	}
}

// sentBefore tells whether something was sent over a connection that waits, or
// may have been: of a client that has closed it nothing is known.
func (d *dump) sentBefore(client *openFile) (bool, error) {
	if client == nil {
		return true, nil
	}
	own, err := client.dup()
	if err != nil {
		return false, err
	}
	sent, err := unix.IoctlGetInt(int(own.Fd()), unix.SIOCOUTQ)
	return sent > 0, os.NewSyscallError("ioctl(SIOCOUTQ)", err)
}

// savePendingState fills in what was sent over the connection that waits at
// place i of listening socket f, and by whom.
func (d *dump) savePendingState(f *openFile, i int, client *openFile, e *specs.UnixSocket) error {
	sent, err := d.sentBefore(client)
	if err != nil {
		return err
	}
	k, err := d.kernelMemory()
	if err != nil && sent {
		return d.blindToPending(f, err)
	}
	if err != nil {
		e.HasPeerCred, e.PeerPID = true, int32(client.proc.nspid)
		e.PeerUID, e.PeerGID, e.PeerGroups = client.proc.status.Uid[1], client.proc.status.Gid[1], client.proc.status.Groups
		return nil
	}
	own, err := f.dup()
	if err != nil {
		return err
	}
	p := &pendingReader{d: d, k: k}
	if err := p.read(int(own.Fd()), i, e); err != nil {
		return fmt.Errorf("connection %d that waits to be accepted: %w", i, err)
	}
	return nil
}

// blindToPending refuses what cannot be seen on this kernel.
func (d *dump) blindToPending(f *openFile, err error) error {
	return f.unsupported("a connection waits to be accepted over which data was sent, which this kernel does not show ("+err.Error()+")",
		"let the program accept the connection first")
}

// pendingReader reads sockets in the kernel's memory (include/net/af_unix.h).
type pendingReader struct {
	d *dump
	k *kmem.Reader
	// known are the descriptions of the tree by their struct file.
	known map[uint64]specs.ID
}

// read fills in the connection at place i of a listening socket.
func (p *pendingReader) read(listener, i int, e *specs.UnixSocket) error {
	sock, err := p.k.Private(listener)
	if err != nil {
		return err
	}
	sk, err := p.k.Follow(sock, "socket.sk")
	if err != nil {
		return err
	}
	waiting, err := p.queue(sk)
	if err != nil {
		return err
	}
	if i >= len(waiting) {
		return fmt.Errorf("only %d wait", len(waiting))
	}
	child, err := p.k.Follow(waiting[i], "sk_buff.sk")
	if err != nil {
		return err
	}
	if err := p.credentials(child, e); err != nil {
		return err
	}
	if e.Peer == 0 {
		if e.PeerName, err = p.peerName(child); err != nil {
			return err
		}
		e.Shutdown = 3
	}
	if oob, err := p.k.Follow(child, "unix_sock.oob_skb"); err == nil && oob != 0 {
		return fmt.Errorf("%w: has out-of-band data", ErrUnsupported)
	}
	messages, err := p.queue(child)
	if err != nil {
		return err
	}
	for _, skb := range messages {
		m, err := p.message(skb)
		if err != nil {
			return err
		}
		e.Queue = append(e.Queue, *m)
	}
	return nil
}

// mostMessages is more than a queue ever holds; it ends a walk over a list that
// is not what we take it for.
const mostMessages = 1 << 20

// queue lists the buffers in a socket's receive queue.
func (p *pendingReader) queue(sk uint64) ([]uint64, error) {
	head, err := p.k.Follow(sk, "sock.sk_receive_queue&")
	if err != nil {
		return nil, err
	}
	var list []uint64
	skb, err := p.k.Follow(head, "sk_buff_head.next")
	for ; err == nil && skb != head && len(list) < mostMessages; skb, err = p.k.Follow(skb, "sk_buff.next") {
		list = append(list, skb)
	}
	return list, err
}

// credentials fills in who connected.
func (p *pendingReader) credentials(sk uint64, e *specs.UnixSocket) error {
	pid, err := p.k.Follow(sk, "sock.sk_peer_pid")
	if err != nil {
		return err
	}
	cred, err := p.k.Follow(sk, "sock.sk_peer_cred")
	if err != nil || cred == 0 {
		return err
	}
	e.HasPeerCred = true
	if e.PeerPID, err = p.number(pid); err != nil {
		return err
	}
	for field, to := range map[string]*uint32{"cred.euid&": &e.PeerUID, "cred.egid&": &e.PeerGID} {
		if *to, err = p.half(cred, field); err != nil {
			return err
		}
	}
	groups, err := p.k.Follow(cred, "cred.group_info")
	if err != nil {
		return err
	}
	n, err := p.half(groups, "group_info.ngroups&")
	if err != nil || n > 65536 {
		return err
	}
	list, err := p.k.Follow(groups, "group_info.gid&")
	if err != nil {
		return err
	}
	b, err := p.k.Bytes(list, int(n)*4)
	for i := 0; i+4 <= len(b); i += 4 {
		e.PeerGroups = append(e.PeerGroups, binary.NativeEndian.Uint32(b[i:]))
	}
	return err
}

func (p *pendingReader) half(addr uint64, field string) (uint32, error) {
	at, err := p.k.Follow(addr, field)
	if err != nil {
		return 0, err
	}
	return p.k.Half(at)
}

// number gives what the tree's tasks see of a struct pid: 0 if the process is
// outside.
func (p *pendingReader) number(pid uint64) (int32, error) {
	if pid == 0 {
		return 0, nil
	}
	_, inner, err := p.numbers(pid)
	return inner, err
}

// numbers gives our number of a struct pid, and the tree's.
func (p *pendingReader) numbers(pid uint64) (host, inner int32, err error) {
	ours, err := p.k.Level()
	if err != nil {
		return 0, 0, err
	}
	last, err := p.half(pid, "pid.level&")
	if err != nil {
		return 0, 0, err
	}
	array, err := p.k.Follow(pid, "pid.numbers&")
	if err != nil {
		return 0, 0, err
	}
	size, err := p.k.Size("upid")
	if err != nil {
		return 0, 0, err
	}
	at := func(level int) (int32, error) {
		n, err := p.half(array+uint64(level*size), "upid.nr&")
		return int32(n), err
	}
	if host, err = at(ours); err != nil {
		return 0, 0, err
	}
	if inner, ok := p.d.living(int(host)); ok {
		return host, inner, nil
	}
	inside := ours + max(p.d.depth(), 1) - 1
	if int(last) < inside {
		return host, 0, nil
	}
	inner, err = at(inside)
	return host, inner, err
}

// peerName gives the name of the client, which is closed but remembered.
func (p *pendingReader) peerName(sk uint64) ([]byte, error) {
	peer, err := p.k.Follow(sk, "unix_sock.peer")
	if err != nil || peer == 0 {
		return nil, err
	}
	return p.name(peer)
}

// name gives the name of a socket.
func (p *pendingReader) name(sk uint64) ([]byte, error) {
	addr, err := p.k.Follow(sk, "unix_sock.addr")
	if err != nil || addr == 0 {
		return nil, err
	}
	n, err := p.half(addr, "unix_address.len&")
	if err != nil {
		return nil, err
	}
	name, err := p.k.Follow(addr, "unix_address.name&")
	if err != nil {
		return nil, err
	}
	const most = 2 + 108 + 1
	b, err := p.k.Bytes(name, min(int(n), most))
	return afunix.Decode(b), err
}

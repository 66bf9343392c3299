package checkpoint

import (
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
)

// Connections that wait for accept(2) have no descriptor: sock_diag lists them,
// but nothing leads to their data. At restore they come to be again when the client
// connects again.

// waiting lists the connections in the queue of a listening socket.
func (d *dump) waiting(s *inetSocket) ([]inet.Sock, error) {
	if err := d.inet.list(d, d.out == nil); err != nil {
		return nil, err
	}
	local := inet.AddrPort(s.local)
	var list []inet.Sock
	for _, sock := range d.inet.listed {
		switch sock.State {
		case inet.SynRecv, inet.Established, inet.CloseWait:
		default:
			continue // one that was accepted and closed
		}
		if sock.Inode == 0 && sock.Local.Port() == local.Port() &&
			(local.Addr().IsUnspecified() || local.Addr() == sock.Local.Addr()) && sock.Remote.Port() != 0 {
			list = append(list, sock)
		}
	}
	// The order of their making is not shown; that of the clients' sockets is
	// close to it.
	slices.SortFunc(list, func(a, b inet.Sock) int { return d.age(a) - d.age(b) })
	return list, nil
}

// age orders connections by the inode of the client, which counts up.
func (d *dump) age(s inet.Sock) int {
	return int(d.inet.listed[pair{s.Remote, s.Local}].Inode)
}

// refuseWaiting looks at the queue of a listening socket.
func (d *dump) refuseWaiting(s *inetSocket) error {
	if s.info.Waiting == 0 && d.out == nil {
		return nil
	}
	list, err := d.waiting(s)
	if err != nil {
		return err
	}
	accepted := 0
	for _, sock := range list {
		if sock.State != inet.SynRecv {
			accepted++
		}
		client := d.inet.find(d, pair{sock.Remote, sock.Local})
		switch {
		case client == nil && d.opts.TCPClose:
		case client == nil:
			return s.f.unsupported(fmt.Sprintf("the connection of %v waits to be accepted", sock.Remote), "have its program accept it, or give --tcp-close to give it up")
		case sock.RQueue > 0:
			return s.f.unsupported(fmt.Sprintf("the connection of %v waits to be accepted and has sent %d bytes, which the kernel does not show", sock.Remote, sock.RQueue), "have its program accept it first")
		}
	}
	if int(s.info.Waiting) > accepted && !d.opts.TCPClose {
		return s.f.unsupported("a connection that waits to be accepted was reset", "have its program accept it first")
	}
	return nil
}

// refuseClient looks at the client of a connection that waits.
func (d *dump) refuseClient(s *inetSocket, _ *openFile) error {
	if s.unsent > 0 {
		return s.f.unsupported(fmt.Sprintf("waits to be accepted with %d bytes under way", s.unsent), "have the server accept it first")
	}
	return nil
}

// saveWaiting saves the queue of a listening socket.
func (d *dump) saveWaiting(s *inetSocket, r *specs.InetSocket) error {
	list, err := d.waiting(s)
	if err != nil {
		return err
	}
	for _, sock := range list {
		w := specs.Waiting{
			Local: inet.Sockaddr(int32(s.family), sock.Local), Remote: inet.Sockaddr(int32(s.family), sock.Remote),
			Ended: sock.State == inet.CloseWait,
		}
		if client := d.inet.find(d, pair{sock.Remote, sock.Local}); client != nil {
			w.Client = client.id
		} else {
			continue
		}
		r.Waiting = append(r.Waiting, w)
	}
	return nil
}

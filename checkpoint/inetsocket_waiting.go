package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Connections that wait for accept(2) have no descriptor. sock_diag lists them,
// but what they have received stands in the kernel's memory alone, where it is
// read (inet.AcceptQueue). At restore they come to be again when the client
// connects again and sends it.

// waiting gives the connections in the queue of a listening socket. Where the
// kernel's memory cannot be read, those are enough that have received nothing.
func (d *dump) waiting(s *inetSocket) ([]inet.Pending, error) {
	if list, known := d.inet.queues[s.f]; known && d.out != nil {
		return list, nil
	}
	if err := d.inet.list(d, d.out == nil); err != nil {
		return nil, err
	}
	var list []inet.Pending
	if s.info.Waiting > 0 {
		var err error
		if list, err = d.accepting(s); err != nil {
			if list = d.listedChildren(s, inet.Established, inet.CloseWait); !plain(list, s) {
				return nil, s.f.unsupported("connections wait to be accepted and have received data, which cannot be read ("+err.Error()+")",
					"have its program accept them first")
			}
		} else if d.out != nil {
			if err := d.captureClients(list); err != nil {
				return nil, err
			}
			if list, err = d.accepting(s); err != nil {
				return nil, err
			}
		}
	}
	// Those that have yet to send something (TCP_DEFER_ACCEPT).
	list = append(list, d.listedChildren(s, inet.SynRecv)...)
	if d.inet.queues == nil {
		d.inet.queues = map[*openFile][]inet.Pending{}
	}
	d.inet.queues[s.f] = list
	return list, nil
}

// plain tells whether all that wait are listed, and have received nothing.
func plain(list []inet.Pending, s *inetSocket) bool {
	for _, p := range list {
		if p.Data != nil {
			return false
		}
	}
	return len(list) == int(s.info.Waiting)
}

// accepting reads the queue itself.
func (d *dump) accepting(s *inetSocket) ([]inet.Pending, error) {
	k, err := d.kernelMemory()
	if err != nil {
		return nil, err
	}
	return inet.AcceptQueue(k, s.fd)
}

// listedChildren are connections without a descriptor at the address of a
// listening socket.
func (d *dump) listedChildren(s *inetSocket, states ...uint8) []inet.Pending {
	local := inet.AddrPort(s.local)
	var list []inet.Pending
	for _, sock := range d.inet.listed {
		for _, state := range states {
			if sock.State != state || sock.Inode != 0 || sock.Local.Port() != local.Port() ||
				!local.Addr().IsUnspecified() && local.Addr() != sock.Local.Addr() {
				continue
			}
			p := inet.Pending{Local: sock.Local, Remote: sock.Remote, State: int32(sock.State)}
			if sock.RQueue > 0 {
				p.Data = []byte{} // some, but not known
			}
			list = append(list, p)
		}
	}
	return list
}

// client tells where the other end of a connection that waits is.
func (d *dump) client(p inet.Pending) (end, *openFile, error) {
	if f, err := d.inet.find(d, pair{p.Remote, p.Local}); f != nil || err != nil {
		return endInside, f, err
	}
	sock, listed := d.inet.listed[pair{p.Remote, p.Local}]
	if d.inet.local(p.Remote.Addr()) && (!listed || sock.Inode == 0) {
		return endGone, nil, nil
	}
	if d.out == nil && listed && d.holds(uint64(sock.Inode)) {
		return endInside, nil, nil
	}
	return endOutside, nil, nil
}

// refuseWaiting looks at the queue of a listening socket.
func (d *dump) refuseWaiting(s *inetSocket) error {
	list, err := d.waiting(s)
	if err != nil {
		return err
	}
	for _, p := range list {
		where, _, err := d.client(p)
		if err != nil {
			return err
		}
		if where == endOutside && !d.opts.TCPClose {
			return s.f.unsupported(fmt.Sprintf("the connection of %v waits to be accepted", p.Remote),
				"have its program accept it, or give --tcp-close to give it up")
		}
	}
	return nil
}

// saveWaiting saves the queue of a listening socket.
func (d *dump) saveWaiting(s *inetSocket, r *specs.InetSocket) error {
	list, err := d.waiting(s)
	if err != nil {
		return err
	}
	for _, p := range list {
		w := specs.Waiting{
			Local: inet.Sockaddr(int32(s.family), p.Local), Remote: inet.Sockaddr(int32(s.family), p.Remote),
			Data: p.Data, Ended: p.State == inet.CloseWait, Reset: p.State == inet.Close,
		}
		where, client, err := d.client(p)
		if err != nil {
			return err
		}
		switch where {
		case endOutside:
			continue // given up
		case endInside:
			w.Client = client.id
		}
		r.Waiting = append(r.Waiting, w)
	}
	return nil
}

// underway finds out which bytes of a client that waits to be accepted have not
// arrived: some of those that it keeps may have, the acknowledgement being delayed.
func (d *dump) underway(s *inetSocket, listener *openFile, t *specs.TCP) (*capture, error) {
	l, err := d.lookInet(listener)
	if err != nil {
		return nil, err
	}
	list, err := d.waiting(l)
	if err != nil {
		return nil, err
	}
	c := d.inet.captures[s.pair()]
	if c == nil && s.out == 0 {
		return nil, nil
	}
	for _, p := range list {
		if c == nil || (pair{p.Remote, p.Local}) != s.pair() || p.RecvSeq == 0 {
			continue
		}
		n := len(c.sent.SendData)
		missing := n - int(int32(p.RecvSeq-(c.sent.SendSeq-uint32(c.out))))
		if missing = max(missing, 0); missing > n {
			return nil, fmt.Errorf("%d bytes under way: %w", missing, unix.EAGAIN)
		}
		t.SendData, t.Unsent = c.sent.SendData[n-missing:], uint32(missing)
		return c, nil
	}
	return nil, s.f.unsupported("waits to be accepted with bytes under way", "have the server accept it first")
}

// captureClients reads the send queues of clients that wait, before the queues
// that they have sent to.
func (d *dump) captureClients(list []inet.Pending) error {
	for _, p := range list {
		f, err := d.inet.find(d, pair{p.Remote, p.Local})
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		s, err := d.lookInet(f)
		if err != nil {
			return err
		}
		if s.out > 0 {
			if _, err := d.captured(s, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

package restore

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// finishDatagrams joins groups, fills the queue and connects a socket that is no
// stream.
func (r *restorer) finishDatagrams(s *inetSocket) error {
	for _, g := range s.rec.Groups {
		if err := joinGroup(s.fd, g); err != nil {
			return fmt.Errorf("join group %v at %s: %w", g.Group, g.Interface, err)
		}
	}
	if s.rec.Remote != nil {
		if err := inet.Connect(s.fd, s.rec.Remote); err != nil {
			return fmt.Errorf("connect to %v: %w", inet.AddrPort(s.rec.Remote), err)
		}
	}
	if len(s.rec.Queue) > 0 {
		if err := s.receive(); err != nil {
			return err
		}
	}
	if s.rec.Shutdown != 0 {
		// Values of shutdown(2) are those of the kernel's bits minus one.
		return unix.Shutdown(s.fd, int(s.rec.Shutdown)-1)
	}
	return nil
}

// receive has the datagrams of the queue arrive again, made by hand with their
// senders' addresses, and sees to it that they all have.
func (s *inetSocket) receive() error {
	size := 0
	for _, g := range s.rec.Queue {
		size += len(g.Data) + 2048
	}
	if err := s.roomFor(recvBuffer(), size); err != nil {
		return err
	}
	shared := s.rec.Remote == nil && (s.option(unix.SOL_SOCKET, unix.SO_REUSEPORT) != 0 || s.option(unix.SOL_SOCKET, unix.SO_REUSEADDR) != 0)
	for i := range s.rec.Queue {
		if err := s.arrive(&s.rec.Queue[i], shared); err != nil {
			return fmt.Errorf("datagram %d of the queue: %w", i, err)
		}
	}
	n := 0
	err := inet.Datagrams(s.fd, func(from, data, _ []byte) error {
		if n < len(s.rec.Queue) && !bytes.Equal(data, s.rec.Queue[n].Data) {
			return fmt.Errorf("another one arrived: %w", unix.EBADMSG)
		}
		n++
		return nil
	})
	if err == nil && n != len(s.rec.Queue) {
		err = fmt.Errorf("%d of %d datagrams of the queue arrived: does a firewall stop the loopback interface?: %w", n, len(s.rec.Queue), unix.EIO)
	}
	return err
}

// arrive sends one datagram to the socket. On a port that several sockets share
// the socket is connected to the sender for that moment: it is preferred then.
func (s *inetSocket) arrive(g *specs.Datagram, shared bool) error {
	local, err := inet.Name(s.fd)
	if err != nil {
		return err
	}
	from, to := inet.AddrPort(g.From), inet.AddrPort(local)
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(inet.AddrPort(loopback(s.rec.Family, g.From, 0)).Addr(), to.Port())
	}
	if addr, ok := netip.AddrFromSlice(g.To); ok {
		to = netip.AddrPortFrom(addr.Unmap(), to.Port())
	}
	if shared && from.Port() != 0 {
		if err := inet.Connect(s.fd, g.From); err != nil {
			return fmt.Errorf("connect to %v: %w", from, err)
		}
	}
	packet := inet.Packet{
		Protocol: byte(s.rec.Protocol), From: from, To: to, Data: g.Data,
		TTL: byte(max(g.TTL-1, 0)), TOS: byte(max(g.TOS-1, 0)),
	}
	err = packet.Inject()
	if shared && from.Port() != 0 {
		err = errors.Join(err, inet.Disconnect(s.fd))
	}
	return err
}

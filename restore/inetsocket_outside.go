package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/inet"
	"golang.org/x/sys/unix"
)

// restoreOutside makes a connection whose other end lives elsewhere. It stays in
// repair mode, and its packets are held back, until all tasks are complete.
func (r *restorer) restoreOutside(s *inetSocket) error {
	if err := r.inet.cut(s); err != nil {
		return err
	}
	s.number()
	if err := s.establish(); err != nil {
		return err
	}
	r.inet.outside = append(r.inet.outside, s)
	return nil
}

// cut holds the packets of a connection back.
func (n *inetSockets) cut(s *inetSocket) error {
	if err := n.open(); err != nil {
		return err
	}
	return n.lock.Add(inet.AddrPort(s.rec.Local), inet.AddrPort(s.rec.Remote))
}

func (n *inetSockets) open() error {
	if n.lock != nil {
		return nil
	}
	var err error
	n.lock, err = inet.NewLock()
	return err
}

// keep notes the lock that the checkpoint has left for a connection.
func (n *inetSockets) keep(s *inetSocket) {
	if n.kept == nil {
		n.kept = map[string]bool{}
	}
	if s.rec.TCP.Lock != "" {
		n.kept[s.rec.TCP.Lock] = true
	}
}

// release leaves the connections to the kernel and lets their packets pass. Up to
// the moment before, a failure leaves the peers waiting as they were.
func (n *inetSockets) release(r *restorer) error {
	for _, s := range n.outside {
		if err := r.within(s.revive); err != nil {
			return &Error{"restore connection", describe(s.id, s.rec), err}
		}
	}
	defer func() {
		n.close()
		for _, s := range n.outside {
			s.push()
		}
		n.outside = nil
	}()
	if len(n.kept) == 0 {
		return nil
	}
	if err := r.within(n.open); err != nil {
		return err
	}
	for table := range n.kept {
		if err := n.lock.Forget(table); err != nil {
			return err
		}
	}
	return nil
}

// revive brings the connection into its state: what the peer had sent to that
// end is sent again in its name, since the peer will not.
func (s *inetSocket) revive() error {
	t := s.rec.TCP
	packet := inet.Packet{
		Protocol: unix.IPPROTO_TCP, From: inet.AddrPort(s.rec.Remote), To: inet.AddrPort(s.rec.Local),
		Flags: inet.ACK, Seq: t.RecvSeq, Ack: s.sendFrom,
	}
	arrive := func(flags byte, states ...int32) error {
		packet.Flags |= flags
		if err := packet.Inject(); err != nil {
			return err
		}
		return s.await(states...)
	}
	switch s.rec.State {
	case inet.CloseWait, inet.LastAck:
		if err := arrive(inet.FIN, inet.CloseWait); err != nil {
			return err
		}
	case inet.FinWait2:
		if err := s.fakeFIN(); err != nil {
			return err
		}
		packet.Ack = t.SendSeq + 1
		if err := arrive(0, inet.FinWait2); err != nil {
			return err
		}
	}
	if err := inet.EndRepair(s.fd); err != nil {
		return fmt.Errorf("leave repair mode: %w", err)
	}
	if err := s.reuse(); err != nil {
		return err
	}
	if err := s.sendRest(); err != nil {
		return err
	}
	if s.rec.State == inet.Closing {
		if err := arrive(inet.FIN, inet.Closing); err != nil {
			return err
		}
	}
	return s.complete()
}

// fakeFIN ends our stream as if the end had been sent: one that a lock stops does
// not count as sent, and an answer to it would not be believed.
func (s *inetSocket) fakeFIN() error {
	if err := inet.Queue(s.fd, inet.SendQueue); err != nil {
		return err
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	return inet.Queue(s.fd, inet.NoQueue)
}

// push sends what a lock has stopped; uncorking does it (tcp(7)).
func (s *inetSocket) push() {
	if s.option(unix.IPPROTO_TCP, unix.TCP_CORK) == 0 {
		_ = inet.SetInt(s.fd, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
	}
}

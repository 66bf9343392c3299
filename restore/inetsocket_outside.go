package restore

import (
	"errors"
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
	if n.lock == nil {
		var err error
		if n.lock, err = inet.NewLock(); err != nil {
			return err
		}
	}
	return n.lock.Add(inet.AddrPort(s.rec.Local), inet.AddrPort(s.rec.Remote))
}

// release leaves the connections to the kernel and lets their packets pass. Up to
// the moment before, a failure leaves the peers waiting as they were.
func (n *inetSockets) release(r *restorer) error {
	for _, s := range n.outside {
		if err := r.within(s.revive); err != nil {
			return &Error{"restore connection", describe(s.id, s.rec), err}
		}
	}
	n.outside = nil
	n.close()
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
	fin := func() error {
		packet.Flags |= inet.FIN
		defer func() { packet.Flags &^= inet.FIN; packet.Seq++ }()
		return packet.Inject()
	}
	if s.rec.State == inet.CloseWait || s.rec.State == inet.LastAck {
		if err := errors.Join(fin(), s.await(inet.CloseWait)); err != nil {
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
	switch s.rec.State {
	case inet.FinWait2:
		packet.Ack = t.SendSeq + 1
		if err := errors.Join(packet.Inject(), s.await(inet.FinWait2)); err != nil {
			return err
		}
	case inet.Closing:
		if err := errors.Join(fin(), s.await(inet.Closing)); err != nil {
			return err
		}
	}
	return s.complete()
}

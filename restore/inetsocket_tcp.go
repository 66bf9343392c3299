package restore

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// finishTCP brings a socket into its state. Connections come in pairs, and
// clients that wait to be accepted with the listening socket.
func (r *restorer) finishTCP(s *inetSocket) error {
	if r.inet.done[s.id] {
		return nil
	}
	if r.inet.done == nil {
		r.inet.done = map[specs.ID]bool{}
	}
	r.inet.done[s.id] = true
	switch s.rec.State {
	case inet.Listen:
		if err := r.connectWaiting(s); err != nil {
			return err
		}
		return s.complete()
	case inet.Close:
		if err := r.restoreClosed(s); err != nil {
			return err
		}
		return s.complete()
	case inet.SynSent:
		return r.restoreRequest(s)
	}
	return r.finishConnection(s)
}

// finishConnection makes a connection by what is known of its other end.
func (r *restorer) finishConnection(s *inetSocket) error {
	t := s.rec.TCP
	if t == nil {
		return fmt.Errorf("%w: connection without a state", ErrUnfit)
	}
	r.inet.keep(s)
	switch {
	case s.dead(r):
		if err := r.die(s, true); err != nil {
			return err
		}
		return s.complete()
	case t.Outside && !r.opts.TCPEstablished:
		return fmt.Errorf("%w: it has an established TCP connection to %v outside; give --tcp-established to restore it or --tcp-close to give it up",
			ErrUnfit, inet.AddrPort(s.rec.Remote))
	case t.Outside:
		return r.restoreOutside(s)
	case t.Peer != 0:
		peer, err := r.inetSocket(t.Peer)
		if err != nil {
			return err
		}
		if peer.rec.State == inet.Listen {
			r.inet.done[s.id] = false
			if err := r.finishTCP(peer); err != nil {
				return err
			}
			if !r.inet.done[s.id] {
				return fmt.Errorf("%w: the socket at %v does not know of it", ErrUnfit, inet.AddrPort(s.rec.Remote))
			}
			return nil
		}
		r.inet.done[t.Peer] = true
		return r.restorePair(s, peer)
	}
	return r.restoreHalf(s)
}

// restoreRequest sends the request for a connection anew.
func (r *restorer) restoreRequest(s *inetSocket) error {
	if err := s.leaveRepair(); err != nil {
		return err
	}
	if err := inet.Connect(s.fd, s.rec.Remote); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect to %v: %w", inet.AddrPort(s.rec.Remote), err)
	}
	return s.complete()
}

// leaveRepair ends the repair mode of bind without a packet.
func (s *inetSocket) leaveRepair() error {
	if err := inet.EndRepairMute(s.fd); err != nil {
		return fmt.Errorf("leave repair mode: %w", err)
	}
	return s.reuse()
}

// reuse sets SO_REUSEADDR, which repair mode has taken the place of.
func (s *inetSocket) reuse() error {
	return inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, s.option(unix.SOL_SOCKET, unix.SO_REUSEADDR))
}

// restoreClosed is for sockets without a connection, and for what is left of one.
func (r *restorer) restoreClosed(s *inetSocket) error {
	if !s.dead(r) {
		return nil
	}
	if s.rec.Local == nil && s.rec.TCP == nil {
		if err := s.options(inet.Early); err != nil {
			return err
		}
		if err := s.options(inet.Normal); err != nil {
			return err
		}
		// It sets the directions even if it answers that there is no connection.
		if err := unix.Shutdown(s.fd, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
			return err
		}
		return nil
	}
	return r.die(s, false)
}

// dead tells whether the socket is made by die.
func (s *inetSocket) dead(r *restorer) bool {
	t := s.rec.TCP
	return s.stream() && (s.rec.State == inet.Close && s.rec.Shutdown != 0 || t != nil && (t.Reset || t.Outside && r.opts.TCPClose))
}

// die makes a connection to nobody and has it end by a reset, which leaves what
// the program has still to read; tell tells whether it is to see ECONNRESET.
func (r *restorer) die(s *inetSocket, tell bool) error {
	if err := s.options(inet.Early); err != nil {
		return err
	}
	// The reset comes through the loopback interface.
	if err := inet.Set(s.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, nil); err != nil {
		return err
	}
	local, err := s.bindDead()
	if err != nil {
		return err
	}
	r.inet.fake++
	remote := loopback(s.rec.Family, local, r.inet.fake)
	s.sendFrom, s.recvFrom = firstSeq, firstSeq
	if err := s.join(remote, nil); err != nil {
		return err
	}
	if err := s.fill(inet.RecvQueue, s.recvData()); err != nil {
		return err
	}
	if err := s.leaveRepair(); err != nil {
		return err
	}
	reset := inet.Packet{
		Protocol: unix.IPPROTO_TCP, From: inet.AddrPort(remote), To: inet.AddrPort(local),
		Flags: inet.RST | inet.ACK, Seq: s.recvFrom + uint32(len(s.recvData())), Ack: s.sendFrom,
	}
	if err := reset.Inject(); err != nil {
		return err
	}
	if err := s.await(inet.Close); err != nil {
		return err
	}
	if !tell {
		// Reading the error takes it off.
		if _, err = inet.Int(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
			return err
		}
	}
	return errors.Join(s.options(inet.Early), s.options(inet.Normal))
}

// bindDead takes the local address, one of the loopback interface if that is
// gone as well, and gives the one that it got.
func (s *inetSocket) bindDead() ([]byte, error) {
	if err := inet.Repair(s.fd); err != nil {
		return nil, fmt.Errorf("repair mode: %w", err)
	}
	err := error(unix.EADDRNOTAVAIL)
	if s.rec.Local != nil {
		err = inet.Bind(s.fd, s.rec.Local)
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		err = inet.Bind(s.fd, loopback(s.rec.Family, s.rec.Local, 0))
	}
	if err != nil {
		return nil, fmt.Errorf("bind to %v: %w", inet.AddrPort(s.rec.Local), err)
	}
	return inet.Name(s.fd)
}

// firstSeq begins the sequence numbers of connections for which any will do.
const firstSeq = 0x10000000

// loopback is an address of the loopback interface for a family, of IPv4 if like
// is.
func loopback(family int32, like []byte, port uint16) []byte {
	addr := netip.IPv6Loopback()
	if a := inet.AddrPort(like).Addr(); family == unix.AF_INET || a.Is4() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return inet.Sockaddr(family, netip.AddrPortFrom(addr, port))
}

// arrivalPatience is how long a packet may take through the loopback interface. One that is lost, which happens on busy
// machines, is sent again after 1, 3 and 7 s.
const arrivalPatience = 10 * time.Second

// await waits until a socket has come to one of some states.
func (s *inetSocket) await(states ...int32) error {
	var info inet.Info
	for deadline := time.Now().Add(arrivalPatience); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		var err error
		if info, err = inet.ReadInfo(s.fd); err != nil {
			return err
		}
		for _, state := range states {
			if int32(info.State) == state {
				return nil
			}
		}
	}
	return fmt.Errorf("connection %v - %v is in state %s and does not come to %s (%d packets not acknowledged, %d times sent again, window of %d bytes): does a firewall stop the loopback interface?: %w",
		inet.AddrPort(s.rec.Local), inet.AddrPort(s.rec.Remote), inet.StateName(int32(info.State)), inet.StateName(states[0]),
		info.Waiting, info.Retransmits, info.SendWindow, unix.ETIMEDOUT)
}

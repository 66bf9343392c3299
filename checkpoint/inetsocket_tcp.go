package checkpoint

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// refuseMPTCP lets multipath sockets pass that are no connections: Go's net
// package listens with them. What such a socket accepts from a client that knows
// nothing of it is plain TCP.
func refuseMPTCP(d *dump, s *inetSocket) error {
	if s.state != inet.Listen && s.state != inet.Close {
		return s.f.unsupported("is a connection of multipath TCP, of which the kernel shows too little",
			"have the program use plain TCP (Go: GODEBUG=multipathtcp=0)")
	}
	return refuseTCP(d, s)
}

// refuseTCP tells what of a TCP socket cannot be saved.
func refuseTCP(d *dump, s *inetSocket) error {
	f := s.f
	if ulp, err := inet.Get(s.fd, unix.IPPROTO_TCP, unix.TCP_ULP, 16); err == nil && len(ulp) > 0 && ulp[0] != 0 && s.protocol == unix.IPPROTO_TCP {
		return f.unsupported(fmt.Sprintf("has the protocol %q of the kernel on top", unix.ByteSliceToString(ulp)), "turn it off in the program (kernel TLS)")
	}
	const tcpAOInfo = 40
	if _, err := inet.Get(s.fd, unix.IPPROTO_TCP, tcpAOInfo, 256); err == nil {
		return f.unsupported("has TCP authentication keys, which the kernel does not show", "close it before the checkpoint")
	}
	if err := d.inet.list(d, false); err != nil {
		return err
	}
	if d.inet.signed[f.stat.Ino] {
		return f.unsupported("has TCP MD5 keys, which the kernel does not show", "close it before the checkpoint")
	}
	if s.poll&unix.POLLPRI != 0 {
		return f.unsupported("has urgent data", "have its program read them first")
	}
	switch s.state {
	case inet.SynRecv:
		return f.unsupported("is a connection that is being made by a fast open", "try again in a moment")
	case inet.Close, inet.SynSent: // the latter sends its request anew
		return nil
	}
	if p := s.pair(); p == p.mirror() {
		return f.unsupported("is connected to itself", "close it before the checkpoint")
	}
	if d.out != nil {
		return nil // when all are known
	}
	return refusePeers(d, s)
}

// refusePeers looks at the other end of a connection, or at those that wait at a
// listening socket.
func refusePeers(d *dump, s *inetSocket) error {
	if s.state == inet.Listen {
		return d.refuseWaiting(s)
	}
	where, _, err := d.peer(s)
	if err != nil {
		return err
	}
	switch where {
	case endOutside:
		if d.opts.TCPEstablished || d.opts.TCPClose {
			return nil
		}
		return s.f.unsupported(fmt.Sprintf("is an established TCP connection to %v outside", inet.AddrPort(s.remote)),
			"close it, or give --tcp-established to keep it or --tcp-close to give it up")
	case endGone:
		return d.refuseGone(s)
	}
	return nil
}

// refuseGone looks at a connection whose other end was closed: with bytes still
// under way in the queue of an end that no descriptor leads to it cannot be made
// again.
func (d *dump) refuseGone(s *inetSocket) error {
	other, listed := d.inet.listed[s.pair().mirror()]
	// The end of the stream counts as one byte.
	if listed && other.State != inet.TimeWait && other.WQueue > 1 {
		return s.f.unsupported(fmt.Sprintf("the other end was closed with %d bytes under way", other.WQueue), "have its program read them first")
	}
	return nil
}

// saveTCP begins the record of a TCP socket in any state.
func saveTCP(_ *dump, s *inetSocket, r *specs.InetSocket) error {
	switch s.state {
	case inet.Listen:
		r.Backlog = int32(s.info.Backlog)
	case inet.Close:
		return saveClosed(s, r)
	}
	return nil
}

// completeTCP goes on with those that have another end.
func completeTCP(d *dump, s *inetSocket, r *specs.InetSocket) error {
	if s.state == inet.Close || s.state == inet.SynSent {
		return nil
	}
	if err := refusePeers(d, s); err != nil {
		return err
	}
	var err error
	if s.state == inet.Listen {
		err = d.saveWaiting(s, r)
	} else {
		err = d.saveConnection(s, r)
	}
	if err != nil && !errors.Is(err, ErrUnsupported) {
		return &Error{"save " + s.f.name(), s.f.proc.nspid, err}
	}
	return err
}

// over tells whether a socket was connected and is no longer.
func (s *inetSocket) over() bool {
	return s.kind == unix.SOCK_STREAM && s.state == inet.Close && s.poll&unix.POLLRDHUP != 0
}

// saveClosed is for sockets that are not connected, never were or are no
// longer: the latter may have data that nobody has read.
func saveClosed(s *inetSocket, r *specs.InetSocket) error {
	if s.over() {
		r.Shutdown = 3
	}
	data, err := inet.Peek(s.fd, s.in)
	if err != nil || data == nil {
		return err
	}
	r.TCP = &specs.TCP{RecvData: data}
	return nil
}

// saveConnection saves a connection, all of which can be read without changing
// it unless bytes are under way (inetsocket_repair.go).
func (d *dump) saveConnection(s *inetSocket, r *specs.InetSocket) error {
	t := &specs.TCP{}
	r.TCP = t
	// Receiving shut down by the program itself; the end of the stream shows the
	// same way.
	if s.poll&unix.POLLRDHUP != 0 && !inet.GotFIN(s.state) {
		r.Shutdown |= 1
	}
	where, peer, err := d.peer(s)
	if err != nil {
		return err
	}
	mss := s.info.SendMSS
	var c *capture
	switch where {
	case endOutside:
		if d.opts.TCPClose {
			t.Reset = true
			return nil
		}
		t.Outside = true
		if !d.opts.LeaveRunning {
			if err := d.inet.cut(d, s); err != nil {
				return err
			}
			t.Lock = d.inet.kept
		}
		c, err = d.captured(s, nil)
	case endWaiting:
		t.Peer = peer.id
		c, err = d.underway(s, peer, t)
	case endInside:
		t.Peer = peer.id
		var other *inetSocket
		if other, err = d.lookInet(peer); err != nil {
			return err
		}
		if other.info.AdvMSS != 0 {
			mss = other.info.AdvMSS
		}
		var exact bool
		if exact, err = d.needsExact(s, other); err == nil && exact {
			c, err = d.captured(s, other)
		}
	case endGone:
		_, t.Orphan = d.inet.listed[s.pair().mirror()]
		if s.out > 0 {
			c, err = d.captured(s, nil)
		}
	}
	if err != nil {
		return err
	}
	if c != nil {
		mss = c.sent.MSS
		if t.Peer == 0 || where == endInside {
			err = c.put(s, t)
			r.State = s.state
		}
	} else {
		t.SendWindow = s.info.SendWindow
		if s.in, s.out, s.unsent, err = inet.Queued(s.fd); err == nil {
			t.RecvData, err = inet.Peek(s.fd, s.in)
		}
	}
	if err != nil {
		return fmt.Errorf("read queues: %w", err)
	}
	t.SendMSS = s.info.SendMSS
	t.Options = inet.Negotiated(s.info, mss)
	if t.Outside {
		d.inet.live = append(d.inet.live, s)
	}
	return nil
}

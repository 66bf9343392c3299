package restore

import (
	"github.com/rethaw/rethaw/internal/afunix"
)

// reconnectPaired connects a datagram socket of a pair that is connected
// elsewhere by now. It comes before the queues are filled: leaving a peer empties them.
func (u *unixSockets) reconnectPaired(s *unixSocket) error {
	if !s.datagram() || s.file == nil || s.partner == nil || !s.moved() {
		return nil
	}
	if s.rec.State != "connected" {
		return afunix.Connect(s.fd(), nil)
	}
	return u.connect(s)
}

// reconnect connects the other datagram sockets, when their queues are full: a
// connected socket takes messages of its peer only. For the same reason those
// that connect to a socket come before the socket itself connects elsewhere.
func (u *unixSockets) reconnect(s *unixSocket) error {
	if !s.datagram() || s.file == nil || s.partner != nil || s.rec.State != "connected" || s.connected {
		return nil
	}
	s.connected = true
	for _, o := range u.all {
		if o.peer == s && o != s && s.peer != o {
			if err := u.reconnect(o); err != nil {
				return err
			}
		}
	}
	return u.connect(s)
}

// connect connects a datagram socket to its peer, or to a stand-in for one that
// is closed, which had a name.
func (u *unixSockets) connect(s *unixSocket) error {
	var to *address
	switch {
	case s.peer != nil:
		to = &s.peer.at
	case len(s.rec.PeerName) > 0:
		f, err := u.socket(s.rec.Kind)
		if err != nil {
			return err
		}
		u.standIn(f)
		at, err := u.bindName(f, s.rec.PeerName, "")
		if err != nil {
			return err
		}
		defer at.close()
		to = &at
	default:
		return nil
	}
	return u.space.Do(func() error {
		if to.dir == nil {
			return afunix.Connect(s.fd(), to.name)
		}
		return inDir(to.dir, func() error { return afunix.Connect(s.fd(), to.name) })
	})
}

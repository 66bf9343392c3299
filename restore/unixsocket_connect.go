package restore

import (
	"bytes"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/afunix"
)

// A connection was made in one of two ways, which show:
//
//   - by socketpair(2): both ends note the caller. They have no names, unless
//     they were bound afterwards.
//   - by connect(2) and accept(2): the client has noted who called listen(2),
//     the accepted end who called connect(2), and it has the name of the listening
//     socket.
//
// An end that is closed is replaced by a stand-in that is closed at the last.

// paired tells whether a socket came out of socketpair(2).
func (u *unixSockets) paired(s *unixSocket) bool {
	switch {
	case s.rec.Detached || s.rec.Accepted || s.rec.State == "listening":
		return false
	case s.datagram():
		// Only a pair has noted anybody.
		return s.rec.HasPeerCred
	case s.peer != nil:
		return !s.peer.rec.Accepted
	}
	return s.rec.State == "connected" && len(s.rec.PeerName) == 0
}

// pair makes a socket by socketpair(2), together with the other if it lives.
func (u *unixSockets) pair(s *unixSocket) error {
	if s.file != nil || !u.paired(s) {
		return nil
	}
	files, err := u.pairAs(s.rec.Kind, peerIdentity(s.rec))
	if err != nil {
		return err
	}
	s.file, s.partner = files[0], files[1]
	if err := u.bind(s); err != nil {
		return err
	}
	if other := u.other(s); other != nil {
		other.file, other.partner = files[1], files[0]
		return u.bind(other)
	}
	u.standIn(files[1])
	if s.peer == nil && len(s.rec.PeerName) > 0 {
		at, err := u.bindName(files[1], s.rec.PeerName, "")
		at.close()
		return err
	}
	return nil
}

// other finds the socket that was made by the same call. A datagram socket may
// have been connected elsewhere since, and one of the two may be left that way.
func (u *unixSockets) other(s *unixSocket) *unixSocket {
	if s.peer != nil && s.peer.file == nil && u.paired(s.peer) && (s.peer.peer == s || len(s.peer.rec.Name) == 0) {
		return s.peer
	}
	for _, o := range u.all {
		if o != s && o.peer == s && o.file == nil && u.paired(o) && len(s.rec.Name) == 0 {
			return o
		}
	}
	return nil
}

// manyWaiting is a backlog that all connections fit in while they are made.
const manyWaiting = 4096

// listen has a socket listen.
func (u *unixSockets) listen(s *unixSocket) error {
	if s.rec.State != "listening" {
		return nil
	}
	return u.listenAs(s, peerIdentity(s.rec), manyWaiting)
}

// listener finds the listening socket that has a name, or makes a stand-in.
func (u *unixSockets) listener(kind int32, name []byte, place string) (*unixSocket, error) {
	for _, l := range u.all {
		if l.rec.State == "listening" && l.rec.Kind == kind && bytes.Equal(l.rec.Name, name) && l.rec.Path == place {
			return l, nil
		}
	}
	key := fmt.Sprintf("%d %s", kind, name)
	if l := u.standing[key]; l != nil {
		return l, nil
	}
	f, err := u.socket(kind)
	if err != nil {
		return nil, err
	}
	l := &unixSocket{file: u.standIn(f)}
	if l.at, err = u.bindName(f, name, ""); err != nil {
		return nil, fmt.Errorf("stand in for the socket that listened at %s: %w", afunix.String(name), err)
	}
	u.standing[key] = l
	return l, nil
}

// accept makes both ends of an accepted connection, from whichever is left.
func (u *unixSockets) accept(s *unixSocket) error {
	switch {
	case s.rec.Detached:
		return nil
	case s.rec.Accepted:
		l, err := u.listener(s.rec.Kind, s.rec.Name, s.rec.Path)
		if err != nil {
			return err
		}
		client, err := u.client(s)
		if err != nil {
			return err
		}
		if s.peer != nil {
			if err := u.relisten(l, peerIdentity(s.peer.rec)); err != nil {
				return err
			}
		}
		s.file, err = u.establish(client, l, peerIdentity(s.rec))
		s.partner = client
		if s.peer != nil {
			s.peer.partner = s.file
		}
		return err
	case !s.datagram() && s.rec.State == "connected" && s.peer == nil && s.file != nil && s.partner == nil:
		l, err := u.listener(s.rec.Kind, s.rec.PeerName, "")
		if err != nil {
			return err
		}
		if err := u.relisten(l, peerIdentity(s.rec)); err != nil {
			return err
		}
		f, err := u.establish(s.file, l, nil)
		if err == nil {
			s.partner = u.standIn(f)
		}
		return err
	}
	return nil
}

// client gives the connecting end of an accepted connection, or a stand-in with
// its name.
func (u *unixSockets) client(s *unixSocket) (*os.File, error) {
	if s.peer != nil {
		return s.peer.file, nil
	}
	f, err := u.socket(s.rec.Kind)
	if err != nil {
		return nil, err
	}
	u.standIn(f)
	if len(s.rec.PeerName) > 0 {
		at, err := u.bindName(f, s.rec.PeerName, "")
		at.close()
		if err != nil {
			return nil, fmt.Errorf("stand in for the client %s: %w", afunix.String(s.rec.PeerName), err)
		}
	}
	return f, nil
}

// relisten has the next client of a listening socket note somebody.
func (u *unixSockets) relisten(l *unixSocket, who *identity) error {
	if l.as != nil && l.as.equal(who) {
		return nil
	}
	return u.listenAs(l, who, manyWaiting)
}

// establish connects a client and accepts it.
func (u *unixSockets) establish(client *os.File, l *unixSocket, who *identity) (*os.File, error) {
	if l.as == nil {
		if err := u.listenAs(l, nil, manyWaiting); err != nil {
			return nil, err
		}
	}
	if err := u.connectAs(client, &l.at, who); err != nil {
		return nil, err
	}
	fd, err := afunix.Accept(l.fd())
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "unix socket"), nil
}

// pending leaves connections waiting at a listening socket, in their order, and
// then gives it its own backlog.
func (u *unixSockets) pending(s *unixSocket) error {
	if s.rec.State != "listening" {
		return nil
	}
	for _, id := range s.rec.Pending {
		e := u.byID[id]
		if e == nil {
			return fmt.Errorf("connection %d that waits is no unix socket: %w", id, ErrUnfit)
		}
		client, err := u.client(e)
		if err != nil {
			return err
		}
		if e.peer != nil {
			if err := u.relisten(s, peerIdentity(e.peer.rec)); err != nil {
				return err
			}
		}
		if err := u.connectAs(client, &s.at, peerIdentity(e.rec)); err != nil {
			return fmt.Errorf("connection that waits to be accepted: %w", err)
		}
		e.partner = client
	}
	return u.listenAs(s, peerIdentity(s.rec), s.rec.Backlog)
}

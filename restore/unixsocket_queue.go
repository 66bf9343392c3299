package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// roomy is a size of a send buffer in which any queue fits.
const roomy = 1 << 29

// fillSockets puts what was received and not read into the queues, and sets what
// has to come after it.
func (r *restorer) fillSockets() error {
	u := r.sockets
	if u == nil {
		return nil
	}
	defer u.close()
	for _, step := range []func(*unixSocket) error{u.reconnectPaired, u.fill, u.reconnect, u.shutdown} {
		for _, s := range u.all {
			if err := step(s); err != nil {
				return &Error{"complete file", s.String(), err}
			}
		}
	}
	// Ends that were closed close now: the data stays for the other.
	for _, f := range u.stand {
		f.Close()
	}
	u.stand = nil
	for _, s := range u.all {
		if err := u.finish(s); err != nil {
			return &Error{"complete file", s.String(), err}
		}
	}
	return nil
}

// fill sends all messages of a queue, each by whom it came from.
func (u *unixSockets) fill(s *unixSocket) error {
	for i := range s.rec.Queue {
		m := &s.rec.Queue[i]
		out := &afunix.Message{Data: m.Data}
		for _, id := range m.Files {
			f := u.r.files.open[id]
			if f == nil {
				return fmt.Errorf("descriptor in flight %d: it can only be made inside a task, and no task has it", id)
			}
			out.Files = append(out.Files, int(f.Fd()))
		}
		if len(m.Creds) == 3 {
			pid, err := u.hostPID(int32(m.Creds[0]))
			if err != nil {
				return err
			}
			out.Creds = &unix.Ucred{Pid: pid, Uid: m.Creds[1], Gid: m.Creds[2]}
		}
		if err := u.send(s, m, out); err != nil {
			return fmt.Errorf("message %d of its queue, %d bytes: %w", i, len(m.Data), err)
		}
	}
	if s.rec.Reset && s.partner != nil {
		// What the other end has not read when it closes tells of a reset.
		return afunix.Send(s.fd(), &afunix.Message{Data: []byte{0}})
	}
	return nil
}

// send sends one message to a socket.
func (u *unixSockets) send(s *unixSocket, m *specs.Message, out *afunix.Message) error {
	sender, to := s.partner, (*address)(nil)
	if sender == nil || s.datagram() && s.moved() {
		if !s.datagram() {
			return errors.New("there is nobody to send it")
		}
		var err error
		if sender, err = u.sender(s, m.From); err != nil {
			return err
		}
		to = &s.at
	}
	fd := int(sender.Fd())
	if now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && now < roomy {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, roomy); err != nil {
			return os.NewSyscallError("setsockopt(SO_SNDBUFFORCE)", err)
		}
	}
	if to == nil {
		return afunix.Send(fd, out)
	}
	return u.space.Do(func() error {
		out.Name = to.name
		if to.dir == nil {
			return afunix.Send(fd, out)
		}
		return inDir(to.dir, func() error { return afunix.Send(fd, out) })
	})
}

// moved tells whether a datagram socket of a pair is connected elsewhere now.
func (s *unixSocket) moved() bool {
	return s.rec.State != "connected" || s.peer != nil && s.peer.file != s.partner
}

// sender finds the datagram socket that a message came from, or makes a
// stand-in: one with that name, or one without that is connected to the receiver.
func (u *unixSockets) sender(s *unixSocket, from []byte) (*os.File, error) {
	var found *unixSocket
	for _, o := range u.all {
		if !o.datagram() || o.file == nil || string(o.rec.Name) != string(from) {
			continue
		}
		if o.peer == s {
			return o.file, nil
		}
		if len(from) > 0 && found == nil {
			found = o
		}
	}
	if found != nil {
		return found.file, nil
	}
	if f := u.senders[string(from)]; f != nil {
		return f, nil
	}
	f, err := u.socket(unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	u.standIn(f)
	if len(from) > 0 {
		at, err := u.bindName(f, from, "")
		at.close()
		if err != nil {
			return nil, fmt.Errorf("stand in for the sender %s: %w", afunix.String(from), err)
		}
	}
	u.senders[string(from)] = f
	return f, nil
}

// shutdown closes one direction or both of a connection whose two ends live.
func (u *unixSockets) shutdown(s *unixSocket) error {
	if s.rec.Shutdown == 0 || s.file == nil {
		return nil
	}
	if !s.datagram() && s.rec.State == "connected" && s.rec.Peer == 0 {
		return nil // the other end's closing does it
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(s.fd(), int(s.rec.Shutdown)-1))
}

// finish sets the options, which are in the way before: SO_PASSCRED adds to
// messages, buffers limit them.
func (u *unixSockets) finish(s *unixSocket) error {
	if s.file == nil {
		return nil
	}
	if err := setSocketOptions(s.fd(), s.rec.Options); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd(), unix.SOL_SOCKET, unix.SO_PEEK_OFF, int(s.rec.PeekOff)-1); err != nil {
		return os.NewSyscallError("setsockopt(SO_PEEK_OFF)", err)
	}
	return setBase(s.file, &s.rec.Description, false)
}

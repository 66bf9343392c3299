package restore

import (
	"fmt"
	"time"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// connectWaiting has the clients of a listening socket connect again, in their
// order, and send what had arrived.
func (r *restorer) connectWaiting(l *inetSocket) error {
	for _, w := range l.rec.Waiting {
		if err := r.connectOne(w); err != nil {
			return fmt.Errorf("connection of %v that waits to be accepted: %w", inet.AddrPort(w.Remote), err)
		}
	}
	return nil
}

func (r *restorer) connectOne(w specs.Waiting) error {
	if w.Client == 0 {
		return r.connectGone(w)
	}
	s, err := r.inetSocket(w.Client)
	if err != nil {
		return err
	}
	if r.inet.done[s.id] {
		return nil
	}
	r.inet.done[s.id] = true
	if err := s.leaveRepair(); err != nil {
		return err
	}
	if err := s.options(inet.Normal); err != nil {
		return err
	}
	if err := s.meet(s.rec.Remote, w.Data); err != nil {
		return err
	}
	if err := s.sendRest(); err != nil {
		return err
	}
	return s.complete()
}

// connectGone is for a client that was closed before it was accepted.
func (r *restorer) connectGone(w specs.Waiting) error {
	family := int32(unix.AF_INET)
	if len(w.Local) == unix.SizeofSockaddrInet6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(int(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	// Closing it ends its stream, or resets the connection.
	defer unix.Close(fd)
	s := &inetSocket{fd: fd, rec: &specs.InetSocket{Family: family, Kind: unix.SOCK_STREAM, State: inet.SynSent, Local: w.Remote}}
	if err := s.bind(); err != nil {
		return err
	}
	if err := s.leaveRepair(); err != nil {
		return err
	}
	if err := s.meet(w.Local, w.Data); err != nil || !w.Reset {
		return err
	}
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// meet connects to a listening socket of this network namespace.
func (s *inetSocket) meet(remote, data []byte) error {
	if err := inet.Connect(s.fd, remote); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	for deadline := time.Now().Add(arrivalPatience); ; time.Sleep(100 * time.Microsecond) {
		events, err := inet.Poll(s.fd)
		if err != nil {
			return err
		}
		if events&unix.POLLOUT != 0 && events&unix.POLLERR == 0 {
			break
		}
		if time.Now().After(deadline) || events&unix.POLLERR != 0 {
			return fmt.Errorf("connect: %w", unix.ETIMEDOUT)
		}
	}
	if len(data) == 0 {
		return nil
	}
	if err := s.roomFor(sendBuffer(), len(data)); err != nil {
		return err
	}
	return s.write(data)
}

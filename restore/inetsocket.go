package restore

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inetSockets is what the restore of sockets keeps.
type inetSockets struct {
	// done are connections that have been made, with the other end or alone.
	done map[specs.ID]bool
	// outside are connections to the outside: they stay in repair mode up to the
	// release, so that a restore that fails ends them without a word.
	outside []*inetSocket
	lock    *inet.Lock
	// kept are locks that the checkpoint has left.
	kept map[string]bool
	// fake counts ports of peers that stand in for those of dead connections.
	fake uint16
}

func (n *inetSockets) close() {
	if n.lock != nil {
		n.lock.Close()
		n.lock = nil
	}
}

// inetSocket is a socket that is being made.
type inetSocket struct {
	id  specs.ID
	rec *specs.InetSocket
	fd  int
	// sendFrom and recvFrom are the sequence numbers before the queues.
	sendFrom, recvFrom uint32
}

func (s *inetSocket) stream() bool { return s.rec.Kind == unix.SOCK_STREAM }

// connection tells whether the socket is made in repair mode, by finish.
func (s *inetSocket) connection() bool {
	return s.stream() && s.rec.TCP != nil && s.rec.State != inet.Close
}

func inetSocketKind() fileKind {
	return fileKind{
		record:   &specs.InetSocket{},
		open:     openInet,
		finish:   finishInet,
		detached: func(rec specs.File) bool { return rec.(*specs.InetSocket).Detached },
	}
}

// openInet makes the socket and binds it; those that listen do so at once. What
// is connected follows when all ports are taken by those that own them.
func openInet(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
	s := &inetSocket{id: id, rec: rec.(*specs.InetSocket)}
	fd, err := unix.Socket(int(s.rec.Family), int(s.rec.Kind)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(s.rec.Protocol))
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("socket %v", inet.AddrPort(s.rec.Local)))
	s.fd = fd
	if err := s.open(r); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (s *inetSocket) open(r *restorer) error {
	// Sockets of one user alone share a port (SO_REUSEPORT).
	if err := unix.Fchown(s.fd, int(s.rec.UID), int(s.rec.GID)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := s.rescope(); err != nil {
		return err
	}
	if s.dead(r) {
		return nil
	}
	if err := s.options(inet.Early); err != nil {
		return err
	}
	if s.rec.Local != nil {
		if err := s.bind(); err != nil {
			return err
		}
	}
	if s.connection() {
		return nil
	}
	if err := s.options(inet.Normal); err != nil {
		return err
	}
	if s.rec.State == inet.Listen {
		if err := unix.Listen(s.fd, int(s.rec.Backlog)); err != nil {
			return fmt.Errorf("listen at %v: %w", inet.AddrPort(s.rec.Local), err)
		}
	}
	return nil
}

// bind takes the local address. Connections take it in repair mode, in which the
// kernel lets a port be shared with anybody.
func (s *inetSocket) bind() error {
	connects := s.stream() && s.rec.State != inet.Listen && s.rec.State != inet.Close
	if connects {
		if err := inet.Repair(s.fd); err != nil {
			return fmt.Errorf("repair mode: %w", err)
		}
	}
	err := inet.Bind(s.fd, s.bindAddress(connects))
	if errors.Is(err, unix.EADDRINUSE) && !connects && s.stream() {
		// Remains of old connections may be in the way, in a network namespace that
		// the tree was in before.
		if err = sweep(inet.AddrPort(s.rec.Local).Port()); err == nil {
			err = inet.Bind(s.fd, s.rec.Local)
		}
	}
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("bind to %v: %w; give the container the address that it had", inet.AddrPort(s.rec.Local), err)
	}
	if err != nil {
		return fmt.Errorf("bind to %v: %w", inet.AddrPort(s.rec.Local), err)
	}
	return nil
}

// sweep removes the connections at a port that are over and that no descriptor
// leads to: the kernel keeps them for a while against packets that come late.
func sweep(port uint16) error {
	socks, err := inet.List(unix.IPPROTO_TCP)
	for _, sock := range socks {
		if sock.Local.Port() == port && sock.Inode == 0 && (sock.State == inet.TimeWait || sock.State == inet.FinWait2) {
			if err := inet.Destroy(sock); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("remove old connection %v - %v: %w", sock.Local, sock.Remote, err)
			}
		}
	}
	return err
}

// bindAddress is the local address, without the IP address where a connection will
// get it by itself: to bind an IPv6 socket to one sets IPV6_V6ONLY, which sockets
// that were accepted, or connected alone, do not have.
func (s *inetSocket) bindAddress(connects bool) []byte {
	local := inet.AddrPort(s.rec.Local)
	if !connects || s.rec.Family != unix.AF_INET6 || !local.Addr().Is6() || s.option(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) != 0 {
		return s.rec.Local
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s.rec.Local
	}
	defer unix.Close(fd)
	if err := inet.Connect(fd, s.rec.Remote); err != nil {
		return s.rec.Local
	}
	if chosen, err := inet.Name(fd); err != nil || inet.AddrPort(chosen).Addr() != local.Addr() {
		return s.rec.Local
	}
	return inet.Sockaddr(unix.AF_INET6, netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port()))
}

// option gives the number that the record has for an option, 0 if it has none.
func (s *inetSocket) option(level, name int) int {
	for _, o := range s.rec.Options {
		if int(o.Level) == level && int(o.Name) == name && len(o.Value) == 4 {
			return int(int32(word32(o.Value)))
		}
	}
	return 0
}

// options sets those of one phase.
func (s *inetSocket) options(phase inet.Phase) error {
	for _, v := range s.rec.Options {
		o, err := inet.Find(int(v.Level), int(v.Name))
		if err != nil {
			return err
		}
		// Repair mode and SO_REUSEADDR have one place in the kernel.
		if o.Phase != phase || s.connection() && o.Level == unix.SOL_SOCKET && o.Name == unix.SO_REUSEADDR {
			continue
		}
		if err := o.Apply(s.fd, v.Value); err != nil {
			return err
		}
	}
	return nil
}

// rescope has the scopes of addresses mean the interface of the same name.
func (s *inetSocket) rescope() error {
	if s.rec.Interface == "" {
		return nil
	}
	i, err := net.InterfaceByName(s.rec.Interface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", s.rec.Interface, err)
	}
	for _, raw := range [][]byte{s.rec.Local, s.rec.Remote} {
		if inet.Scope(raw) != 0 {
			putWord32(raw[24:], uint32(i.Index))
		}
	}
	return nil
}

// finishInet connects and fills queues.
func finishInet(r *restorer, id specs.ID, rec specs.File, f *os.File) error {
	s := &inetSocket{id: id, rec: rec.(*specs.InetSocket), fd: int(f.Fd())}
	if s.stream() {
		return r.finishTCP(s)
	}
	if err := r.finishDatagrams(s); err != nil {
		return err
	}
	return s.complete()
}

// complete is the last that is done to a socket.
func (s *inetSocket) complete() error {
	if s.rec.Filter != nil {
		if err := inet.SetFilter(s.fd, s.rec.Filter); err != nil {
			return fmt.Errorf("attach filter: %w", err)
		}
	}
	if err := s.options(inet.Late); err != nil {
		return err
	}
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	const settable = unix.O_APPEND | unix.O_DIRECT | unix.O_NOATIME | unix.O_NONBLOCK
	_, err = unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, flags&^settable|int(s.rec.Flags)&settable)
	return err
}

// socket gives another socket of the image, in the making.
func (r *restorer) inetSocket(id specs.ID) (*inetSocket, error) {
	rec, err := get[*specs.InetSocket](r, id)
	if err != nil {
		return nil, err
	}
	f := r.files.open[id]
	if f == nil {
		return nil, fmt.Errorf("%w: socket %d is not there", ErrUnfit, id)
	}
	return &inetSocket{id: id, rec: rec, fd: int(f.Fd())}, nil
}

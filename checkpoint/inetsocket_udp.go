package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// refuseUDP tells what of a UDP socket cannot be saved.
func refuseUDP(d *dump, s *inetSocket) error {
	cork, err := inet.Int(s.fd, unix.IPPROTO_UDP, unix.UDP_CORK)
	if err == nil && cork != 0 {
		if out, err := unix.IoctlGetInt(s.fd, unix.SIOCOUTQ); err != nil || out > 0 {
			return s.f.unsupported("holds back parts of a datagram (UDP_CORK), which the kernel does not show", "try again in a moment")
		}
	}
	if s.poll&unix.POLLIN == 0 {
		return nil
	}
	device, err := inet.Get(s.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, unix.IFNAMSIZ)
	if err != nil {
		return err
	}
	if name := unix.ByteSliceToString(device); name != "" && name != "lo" {
		return s.f.unsupported(fmt.Sprintf("is bound to the interface %s and has datagrams that nobody has read, which cannot be given back to it", name), "have its program read them first")
	}
	if a := inet.AddrPort(s.local).Addr(); a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return s.f.unsupported("is bound to a multicast address and has datagrams that nobody has read, which cannot be given back to it", "have its program read them first")
	}
	return nil
}

// saveUDP saves the queue and the groups of a UDP socket.
func saveUDP(d *dump, s *inetSocket, r *specs.InetSocket) error {
	var err error
	if r.Groups, err = d.memberships(s); err != nil {
		return err
	}
	if r.Shutdown, err = d.inet.shutdown(d, s); err != nil {
		return err
	}
	if s.poll&unix.POLLIN == 0 {
		return nil
	}
	own, err := inet.Int(s.fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return fmt.Errorf("SO_PEEK_OFF: %w", err)
	}
	forget, err := d.guard(s.fd, watchdog.Option{Level: unix.SOL_SOCKET, Name: unix.SO_PEEK_OFF, Value: own})
	if err != nil {
		return err
	}
	r.Queue, err = s.datagrams()
	if err := errors.Join(err, forget()); err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	for _, g := range r.Queue {
		if len(g.To) == 4 && g.To[0]&0xf0 == 0xe0 || len(g.To) == 16 && g.To[0] == 0xff {
			return s.f.unsupported("has multicast datagrams that nobody has read, which cannot be given back to it", "have its program read them first")
		}
	}
	return nil
}

// datagrams reads the queue and leaves it as it is.
func (s *inetSocket) datagrams() (list []specs.Datagram, err error) {
	err = inet.Datagrams(s.fd, func(from, data, control []byte) error {
		g := specs.Datagram{From: bytes.Clone(from)}
		segment, err := datagramInfo(&g, control)
		if err != nil {
			return err
		}
		// Those that the kernel has joined (UDP_GRO) come apart again.
		for segment > 0 && len(data) > segment {
			part := g
			part.Data = bytes.Clone(data[:segment])
			list, data = append(list, part), data[segment:]
		}
		g.Data = bytes.Clone(data)
		list = append(list, g)
		return nil
	})
	return list, err
}

// datagramInfo takes what the program would be told besides the data.
func datagramInfo(g *specs.Datagram, control []byte) (segment int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, err
	}
	type key struct{ level, kind int32 }
	number := func(to *int32) func([]byte) {
		return func(b []byte) {
			if len(b) >= 4 {
				*to = int32(binary.NativeEndian.Uint32(b)) + 1
			} else if len(b) >= 1 {
				*to = int32(b[0]) + 1
			}
		}
	}
	takers := map[key]func([]byte){
		{unix.IPPROTO_IP, unix.IP_TTL}:          number(&g.TTL),
		{unix.IPPROTO_IP, unix.IP_TOS}:          number(&g.TOS),
		{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}: number(&g.TTL),
		{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:   number(&g.TOS),
		// struct in_pktinfo: index, preferred source, destination.
		{unix.IPPROTO_IP, unix.IP_PKTINFO}: func(b []byte) {
			if len(b) >= 12 {
				g.To = append([]byte(nil), b[8:12]...)
			}
		},
		{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR}: func(b []byte) {
			if len(b) >= 8 {
				g.To = append([]byte(nil), b[4:8]...)
			}
		},
		{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}: func(b []byte) {
			if len(b) >= 16 {
				g.To = append([]byte(nil), b[:16]...)
			}
		},
		{unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR}: func(b []byte) {
			if len(b) >= 24 {
				g.To = append([]byte(nil), b[8:24]...)
			}
		},
		{unix.IPPROTO_UDP, unix.UDP_GRO}: func(b []byte) {
			if len(b) >= 4 {
				segment = int(binary.NativeEndian.Uint32(b))
			}
		},
	}
	for _, m := range messages {
		if take := takers[key{m.Header.Level, m.Header.Type}]; take != nil {
			take(m.Data)
		}
	}
	return segment, nil
}

// shutdown asks sock_diag for the directions that are shut down: no system call on the socket
// itself tells.
func (n *inetSockets) shutdown(d *dump, s *inetSocket) (int32, error) {
	if s.remote == nil {
		return 0, nil // only a connected one can be shut down
	}
	var found int32
	err := n.within(d, func() error {
		socks, err := inet.List(uint8(s.protocol))
		for _, sock := range socks {
			if uint64(sock.Inode) == s.f.stat.Ino {
				found = int32(sock.Shutdown)
			}
		}
		return err
	})
	return found, err
}

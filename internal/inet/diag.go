package inet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sock is one socket of a network namespace, as sock_diag(7) lists it: also one
// that no descriptor leads to.
type Sock struct {
	Family uint8
	// State is the kernel's TCP_* number (include/net/tcp_states.h).
	State         uint8
	Local, Remote netip.AddrPort
	// RQueue and WQueue are those of ss(8): bytes in the queues, or of a listening
	// socket the connections that wait and the backlog.
	RQueue, WQueue uint32
	UID            uint32
	// Inode is 0 for a socket that belongs to no file.
	Inode uint32
	// id is its struct inet_diag_sockid.
	id [diagIDSize]byte
	// Shutdown is the set of directions that are shut down: 1 for receiving, 2
	// for sending.
	Shutdown uint8
	// MD5 tells that it has keys for the signatures of RFC 2385.
	MD5 bool
}

const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagIDSize       = 48
	diagRequestSize  = 56
	diagMessageSize  = 72
	diagShutdown     = 8  // INET_DIAG_SHUTDOWN
	diagMD5          = 18 // INET_DIAG_MD5SIG
)

// ErrDiag is an answer of sock_diag that makes no sense.
var ErrDiag = errors.New("sock_diag: malformed message")

// List lists the sockets of a protocol (IPPROTO_TCP, IPPROTO_UDP...) of both
// families in the network namespace of the calling thread.
func List(protocol uint8) ([]Sock, error) {
	var all []Sock
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		socks, err := list(family, protocol)
		if err != nil {
			return nil, fmt.Errorf("list sockets of protocol %d: %w", protocol, err)
		}
		all = append(all, socks...)
	}
	return all, nil
}

func list(family, protocol uint8) ([]Sock, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	m := make([]byte, unix.SizeofNlMsghdr+diagRequestSize)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	// struct inet_diag_req_v2: all states.
	body := m[unix.SizeofNlMsghdr:]
	body[0], body[1] = family, protocol
	binary.NativeEndian.PutUint32(body[4:], ^uint32(0))
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var all []Sock
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		socks, done, err := ParseDiag(buf[:n])
		all = append(all, socks...)
		if err != nil || done {
			return all, err
		}
	}
}

// ParseDiag reads the netlink messages of one answer; done tells that it was
// the last one.
func ParseDiag(b []byte) (socks []Sock, done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return socks, false, ErrDiag
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return socks, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return socks, false, ErrDiag
			}
			if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))); errno != 0 {
				return socks, true, errno
			}
			return socks, true, nil
		case sockDiagByFamily:
			s, err := parseSock(body)
			if err != nil {
				return socks, false, err
			}
			socks = append(socks, s)
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	if len(b) != 0 {
		return socks, false, ErrDiag
	}
	return socks, false, nil
}

// parseSock reads a struct inet_diag_msg and its attributes.
func parseSock(b []byte) (Sock, error) {
	if len(b) < diagMessageSize {
		return Sock{}, ErrDiag
	}
	s := Sock{
		Family: b[0], State: b[1],
		RQueue: binary.NativeEndian.Uint32(b[56:]), WQueue: binary.NativeEndian.Uint32(b[60:]),
		UID: binary.NativeEndian.Uint32(b[64:]), Inode: binary.NativeEndian.Uint32(b[68:]),
	}
	copy(s.id[:], b[4:])
	s.Local = diagAddr(s.Family, b[8:24], b[4:])
	s.Remote = diagAddr(s.Family, b[24:40], b[6:])
	for rest := b[diagMessageSize:]; len(rest) >= 4; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < 4 || size > len(rest) {
			return s, ErrDiag
		}
		switch kind := binary.NativeEndian.Uint16(rest[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); {
		case kind == diagShutdown && size > 4:
			s.Shutdown = rest[4]
		case kind == diagMD5 && size > 4:
			s.MD5 = true
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return s, nil
}

// Destroy ends a TCP socket at once (SOCK_DESTROY, CONFIG_INET_DIAG_DESTROY). Needs
// CAP_NET_ADMIN over the network namespace of the calling thread.
func Destroy(s Sock) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m := make([]byte, unix.SizeofNlMsghdr+diagRequestSize)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], sockDestroy)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	body := m[unix.SizeofNlMsghdr:]
	body[0], body[1] = s.Family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], ^uint32(0))
	copy(body[8:], s.id[:])
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	_, _, err = ParseDiag(buf[:n])
	return err
}

func diagAddr(family uint8, ip, port []byte) netip.AddrPort {
	p := binary.BigEndian.Uint16(port)
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), p)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip)).Unmap(), p)
}

package inet

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddrMax is room for any address of these families.
const sockaddrMax = 128

// Name gives the raw local address of a socket (getsockname(2)).
func Name(fd int) ([]byte, error) { return address(unix.SYS_GETSOCKNAME, fd) }

// Peer gives the raw remote address of a socket (getpeername(2)), nil if it is
// not connected.
func Peer(fd int) ([]byte, error) {
	b, err := address(unix.SYS_GETPEERNAME, fd)
	if err == unix.ENOTCONN {
		return nil, nil
	}
	return b, err
}

func address(nr uintptr, fd int) ([]byte, error) {
	b := make([]byte, sockaddrMax)
	n := uint32(len(b))
	if _, _, errno := unix.Syscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n))); errno != 0 {
		return nil, errno
	}
	return b[:min(int(n), len(b))], nil
}

// Bind is bind(2) with a raw address.
func Bind(fd int, addr []byte) error { return withAddress(unix.SYS_BIND, fd, addr) }

// Connect is connect(2) with a raw address.
func Connect(fd int, addr []byte) error { return withAddress(unix.SYS_CONNECT, fd, addr) }

// Disconnect dissolves the association of a datagram socket (AF_UNSPEC).
func Disconnect(fd int) error { return Connect(fd, make([]byte, 16)) }

func withAddress(nr uintptr, fd int, addr []byte) error {
	if len(addr) == 0 {
		return unix.EINVAL
	}
	if _, _, errno := unix.Syscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr))); errno != 0 {
		return errno
	}
	return nil
}

// AddrPort reads a raw struct sockaddr_in or sockaddr_in6. An IPv4 address in
// IPv6 clothes comes out as IPv4, and scopes are left out, so that both ends of
// a connection tell the same. What is no such address gives the zero value.
func AddrPort(raw []byte) netip.AddrPort {
	if len(raw) < 8 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(raw[2:])
	switch family := binary.NativeEndian.Uint16(raw); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port)
	case family == unix.AF_INET6 && len(raw) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// Scope gives the index of the interface that an IPv6 address names
// (sin6_scope_id), 0 for none.
func Scope(raw []byte) uint32 {
	if len(raw) < 28 || binary.NativeEndian.Uint16(raw) != unix.AF_INET6 {
		return 0
	}
	return binary.NativeEndian.Uint32(raw[24:])
}

// Sockaddr makes the raw address of an endpoint for a socket of a family.
func Sockaddr(family int32, a netip.AddrPort) []byte {
	if family == unix.AF_INET {
		b := make([]byte, unix.SizeofSockaddrInet4)
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		binary.BigEndian.PutUint16(b[2:], a.Port())
		ip := a.Addr().Unmap()
		if ip.Is4() {
			four := ip.As4()
			copy(b[4:], four[:])
		}
		return b
	}
	b := make([]byte, unix.SizeofSockaddrInet6)
	binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	sixteen := a.Addr().As16()
	copy(b[8:], sixteen[:])
	return b
}

// recvmsg is recvmsg(2) that gives the sender's raw address, and how much of
// data and control it has filled.
func recvmsg(fd int, data, control []byte, flags int) (n, controlLen, got int, from []byte, err error) {
	name := make([]byte, sockaddrMax)
	var iov unix.Iovec
	iov.Base = &data[0]
	iov.SetLen(len(data))
	msg := unix.Msghdr{Name: &name[0], Namelen: sockaddrMax, Iov: &iov}
	msg.SetIovlen(1)
	if len(control) > 0 {
		msg.Control = &control[0]
		msg.SetControllen(len(control))
	}
	r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
	if errno != 0 {
		return 0, 0, 0, nil, errno
	}
	if k := int(msg.Namelen); k > 0 {
		from = name[:min(k, sockaddrMax)]
	}
	return int(r), int(msg.Controllen), int(msg.Flags), from, nil
}

func sendTo(fd int, b, to []byte) error {
	var data unsafe.Pointer
	if len(b) > 0 {
		data = unsafe.Pointer(&b[0])
	}
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(data), uintptr(len(b)), 0, uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)))
	if errno != 0 {
		return errno
	}
	return nil
}

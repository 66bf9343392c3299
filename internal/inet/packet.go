package inet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Packet is a packet made by hand, as if From had sent it to To.
type Packet struct {
	Protocol byte
	From, To netip.AddrPort
	// TTL is 64 if 0.
	TTL, TOS byte
	Data     []byte
	// Flags, Seq and Ack are those of TCP.
	Flags    byte
	Seq, Ack uint32
}

// Flags of TCP.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
	tcpHeader  = 20
)

// Bytes is the packet with all its headers.
func (p *Packet) Bytes() ([]byte, error) {
	from, to := p.From.Addr().Unmap(), p.To.Addr().Unmap()
	if from.Is4() != to.Is4() || !from.IsValid() || !to.IsValid() {
		return nil, fmt.Errorf("packet from %v to %v: %w", p.From, p.To, unix.EAFNOSUPPORT)
	}
	body, err := p.transport(from, to)
	if err != nil {
		return nil, err
	}
	ttl := p.TTL
	if ttl == 0 {
		ttl = 64
	}
	if from.Is4() {
		h := make([]byte, ipv4Header, ipv4Header+len(body))
		h[0], h[1], h[8], h[9] = 0x45, p.TOS, ttl, p.Protocol
		binary.BigEndian.PutUint16(h[2:], uint16(ipv4Header+len(body)))
		h[6] = 0x40 // do not fragment
		copy(h[12:], from.AsSlice())
		copy(h[16:], to.AsSlice())
		binary.BigEndian.PutUint16(h[10:], fold(sum(h, 0)))
		return append(h, body...), nil
	}
	h := make([]byte, ipv6Header, ipv6Header+len(body))
	binary.BigEndian.PutUint32(h, 6<<28|uint32(p.TOS)<<20)
	binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
	h[6], h[7] = p.Protocol, ttl
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return append(h, body...), nil
}

func (p *Packet) transport(from, to netip.Addr) ([]byte, error) {
	var b []byte
	at := 6 // of the checksum
	switch p.Protocol {
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		b = make([]byte, udpHeader, udpHeader+len(p.Data))
		if p.Protocol == unix.IPPROTO_UDP {
			binary.BigEndian.PutUint16(b[4:], uint16(udpHeader+len(p.Data)))
		} // for UDP-Lite it is the coverage: 0 is all
	case unix.IPPROTO_TCP:
		b = make([]byte, tcpHeader, tcpHeader+len(p.Data))
		binary.BigEndian.PutUint32(b[4:], p.Seq)
		binary.BigEndian.PutUint32(b[8:], p.Ack)
		b[12], b[13], at = tcpHeader/4<<4, p.Flags, 16
		binary.BigEndian.PutUint16(b[14:], 0xffff)
	default:
		return nil, unix.EPROTONOSUPPORT
	}
	binary.BigEndian.PutUint16(b, p.From.Port())
	binary.BigEndian.PutUint16(b[2:], p.To.Port())
	b = append(b, p.Data...)
	if len(b) > 0xffff-ipv4Header {
		return nil, fmt.Errorf("packet of %d bytes: %w", len(b), unix.EMSGSIZE)
	}
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(b)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(p.Protocol))
	check := fold(sum(b, sum(pseudo, 0)))
	if check == 0 {
		check = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(b[at:], check)
	return b, nil
}

// sum and fold make the checksum of the internet (RFC 1071).
func sum(b []byte, s uint64) uint64 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// Inject has the packet arrive at a local address of the calling thread's
// network namespace, through the loopback interface. Needs CAP_NET_RAW there. A
// Lock lets it pass.
func (p *Packet) Inject() error {
	b, err := p.Bytes()
	if err != nil {
		return err
	}
	to := netip.AddrPortFrom(p.To.Addr().Unmap(), 0)
	family := int32(unix.AF_INET)
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	// IPPROTO_RAW: the headers are ours (raw(7)).
	fd, err := unix.Socket(int(family), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		if err := SetInt(fd, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1); err != nil {
			return fmt.Errorf("IPV6_HDRINCL: %w", err)
		}
	}
	if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark); err != nil {
		return fmt.Errorf("SO_MARK: %w", err)
	}
	if err := sendTo(fd, b, Sockaddr(family, to)); err != nil {
		return fmt.Errorf("send packet to %v: %w", p.To, err)
	}
	return nil
}

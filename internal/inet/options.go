package inet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Phase says when an option is set while a socket is made.
type Phase int

const (
	// Early options are set before bind(2): they decide what it does.
	Early Phase = iota
	// Normal ones follow when the socket is bound, listening or connected.
	Normal
	// Late ones follow when its queues are filled.
	Late
)

// Option is one option of setsockopt(2) that can be read back.
type Option struct {
	Level, Name int
	// Label is the name in the headers.
	Label string
	Phase Phase
	// size is that of the value in bytes, 4 unless said.
	size int
	// always has it saved even if it has the value of a new socket: that value
	// depends on the machine.
	always bool
	// idle options belong to sockets that are not connected; on others the kernel
	// shows something else under their name.
	idle bool
	// datagrams options are not for streams: there the kernel keeps something else in
	// their place.
	datagrams bool
	// set, if not nil, sets it by other means than its own name.
	set func(fd int, o *Option, value []byte) error
}

// Options that newer kernels have and the headers here may lack.
const (
	soBufLock       = 72
	soReserveMem    = 73
	soTxRehash      = 74
	soRcvMark       = 75
	soRcvPriority   = 82
	tcpRTOMax       = 44
	tcpRTOMin       = 45
	tcpDelAckMax    = 46
	ipRecvErrRFC    = 26
	ipv6RecvErrRFC  = 31
	ipLocalPorts    = 51
	ipv6FlowInfo    = 11
	ipv6FlowSend    = 33
	ipv6MinHopCount = 73
	ipv6RecvFrag    = 77
)

// table has all options, in the order in which they are set: a later one may
// depend on an earlier one (SO_PRIORITY on IP_TOS, SO_BUF_LOCK on the sizes,
// SO_RCVBUF on SO_RCVLOWAT).
var table = allOptions()

func allOptions() []Option {
	socket := func(name int, label string) Option { return Option{Level: unix.SOL_SOCKET, Name: name, Label: label} }
	early := func(o Option) Option { o.Phase = Early; return o }
	late := func(o Option) Option { o.Phase = Late; return o }
	sized := func(o Option, size int) Option { o.size = size; return o }
	always := func(o Option) Option { o.always = true; return o }
	idle := func(o Option) Option { o.idle = true; return o }
	packets := func(o Option) Option { o.datagrams = true; return o }
	with := func(o Option, set func(int, *Option, []byte) error) Option { o.set = set; return o }
	level := func(level int) func(int, string) Option {
		return func(name int, label string) Option { return Option{Level: level, Name: name, Label: label} }
	}
	tcp, ip, ip6, udp, raw := level(unix.IPPROTO_TCP), level(unix.IPPROTO_IP), level(unix.IPPROTO_IPV6), level(unix.IPPROTO_UDP), level(unix.SOL_RAW)
	return slices.Concat(
		[]Option{
			early(socket(unix.SO_REUSEADDR, "SO_REUSEADDR")),
			early(socket(unix.SO_REUSEPORT, "SO_REUSEPORT")),
			early(sized(socket(unix.SO_BINDTODEVICE, "SO_BINDTODEVICE"), unix.IFNAMSIZ)),
			early(ip6(unix.IPV6_V6ONLY, "IPV6_V6ONLY")),
			early(ip(unix.IP_FREEBIND, "IP_FREEBIND")),
			early(ip(unix.IP_TRANSPARENT, "IP_TRANSPARENT")),
			early(ip(unix.IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT")),
			early(ip(ipLocalPorts, "IP_LOCAL_PORT_RANGE")),
			early(socket(unix.SO_MARK, "SO_MARK")),
			early(idle(tcp(unix.TCP_MAXSEG, "TCP_MAXSEG"))),
			early(idle(tcp(unix.TCP_SAVE_SYN, "TCP_SAVE_SYN"))),
			early(idle(tcp(unix.TCP_FASTOPEN_CONNECT, "TCP_FASTOPEN_CONNECT"))),
			early(raw(unix.IP_HDRINCL, "IP_HDRINCL")),
		},
		[]Option{
			ip(unix.IP_TOS, "IP_TOS"), ip(unix.IP_TTL, "IP_TTL"), ip(unix.IP_MTU_DISCOVER, "IP_MTU_DISCOVER"),
			ip(unix.IP_RECVERR, "IP_RECVERR"), ip(unix.IP_PKTINFO, "IP_PKTINFO"), ip(unix.IP_RECVTTL, "IP_RECVTTL"),
			ip(unix.IP_RECVTOS, "IP_RECVTOS"), ip(unix.IP_RECVOPTS, "IP_RECVOPTS"), ip(unix.IP_RETOPTS, "IP_RETOPTS"),
			ip(unix.IP_PASSSEC, "IP_PASSSEC"), ip(unix.IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR"),
			ip(unix.IP_MINTTL, "IP_MINTTL"), ip(unix.IP_NODEFRAG, "IP_NODEFRAG"), ip(unix.IP_CHECKSUM, "IP_CHECKSUM"),
			ip(unix.IP_RECVFRAGSIZE, "IP_RECVFRAGSIZE"), ip(ipRecvErrRFC, "IP_RECVERR_RFC4884"),
			packets(ip(unix.IP_MULTICAST_TTL, "IP_MULTICAST_TTL")), packets(ip(unix.IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP")),
			packets(ip(unix.IP_MULTICAST_ALL, "IP_MULTICAST_ALL")), packets(ip(unix.IP_MULTICAST_IF, "IP_MULTICAST_IF")),
			ip(unix.IP_UNICAST_IF, "IP_UNICAST_IF"), sized(ip(unix.IP_OPTIONS, "IP_OPTIONS"), 40),
			ip6(unix.IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"), packets(ip6(unix.IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS")),
			packets(ip6(unix.IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP")), packets(ip6(unix.IPV6_MULTICAST_IF, "IPV6_MULTICAST_IF")),
			packets(ip6(unix.IPV6_MULTICAST_ALL, "IPV6_MULTICAST_ALL")), ip6(unix.IPV6_UNICAST_IF, "IPV6_UNICAST_IF"),
			ip6(unix.IPV6_MTU_DISCOVER, "IPV6_MTU_DISCOVER"), ip6(unix.IPV6_RECVERR, "IPV6_RECVERR"),
			ip6(unix.IPV6_RECVPKTINFO, "IPV6_RECVPKTINFO"), ip6(unix.IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"),
			ip6(unix.IPV6_RECVRTHDR, "IPV6_RECVRTHDR"), ip6(unix.IPV6_RECVHOPOPTS, "IPV6_RECVHOPOPTS"),
			ip6(unix.IPV6_RECVDSTOPTS, "IPV6_RECVDSTOPTS"), ip6(unix.IPV6_RECVTCLASS, "IPV6_RECVTCLASS"),
			ip6(unix.IPV6_TCLASS, "IPV6_TCLASS"), ip6(unix.IPV6_RECVPATHMTU, "IPV6_RECVPATHMTU"),
			ip6(unix.IPV6_RECVORIGDSTADDR, "IPV6_RECVORIGDSTADDR"), ip6(unix.IPV6_DONTFRAG, "IPV6_DONTFRAG"),
			ip6(unix.IPV6_AUTOFLOWLABEL, "IPV6_AUTOFLOWLABEL"), ip6(unix.IPV6_ADDR_PREFERENCES, "IPV6_ADDR_PREFERENCES"),
			ip6(ipv6MinHopCount, "IPV6_MINHOPCOUNT"), ip6(ipv6RecvFrag, "IPV6_RECVFRAGSIZE"),
			ip6(ipv6RecvErrRFC, "IPV6_RECVERR_RFC4884"), ip6(ipv6FlowInfo, "IPV6_FLOWINFO"), ip6(ipv6FlowSend, "IPV6_FLOWINFO_SEND"),
			ip6(unix.IPV6_CHECKSUM, "IPV6_CHECKSUM"), ip6(unix.IPV6_2292PKTINFO, "IPV6_2292PKTINFO"),
			ip6(unix.IPV6_2292HOPLIMIT, "IPV6_2292HOPLIMIT"), ip6(unix.IPV6_2292HOPOPTS, "IPV6_2292HOPOPTS"),
			ip6(unix.IPV6_2292DSTOPTS, "IPV6_2292DSTOPTS"), ip6(unix.IPV6_2292RTHDR, "IPV6_2292RTHDR"),
			sized(ip6(unix.IPV6_HOPOPTS, "IPV6_HOPOPTS"), 2048), sized(ip6(unix.IPV6_RTHDRDSTOPTS, "IPV6_RTHDRDSTOPTS"), 2048),
			sized(ip6(unix.IPV6_RTHDR, "IPV6_RTHDR"), 2048), sized(ip6(unix.IPV6_DSTOPTS, "IPV6_DSTOPTS"), 2048),
		},
		[]Option{
			socket(unix.SO_KEEPALIVE, "SO_KEEPALIVE"), socket(unix.SO_BROADCAST, "SO_BROADCAST"),
			socket(unix.SO_OOBINLINE, "SO_OOBINLINE"), socket(unix.SO_DONTROUTE, "SO_DONTROUTE"),
			socket(unix.SO_NO_CHECK, "SO_NO_CHECK"), always(socket(unix.SO_PRIORITY, "SO_PRIORITY")),
			sized(socket(unix.SO_LINGER, "SO_LINGER"), 8),
			sized(socket(unix.SO_RCVTIMEO_NEW, "SO_RCVTIMEO"), 16), sized(socket(unix.SO_SNDTIMEO_NEW, "SO_SNDTIMEO"), 16),
			socket(unix.SO_TIMESTAMP_OLD, "SO_TIMESTAMP_OLD"), socket(unix.SO_TIMESTAMPNS_OLD, "SO_TIMESTAMPNS_OLD"),
			socket(unix.SO_TIMESTAMP_NEW, "SO_TIMESTAMP_NEW"), socket(unix.SO_TIMESTAMPNS_NEW, "SO_TIMESTAMPNS_NEW"),
			sized(socket(unix.SO_TIMESTAMPING_OLD, "SO_TIMESTAMPING_OLD"), 8), sized(socket(unix.SO_TIMESTAMPING_NEW, "SO_TIMESTAMPING_NEW"), 8),
			socket(unix.SO_RXQ_OVFL, "SO_RXQ_OVFL"), socket(unix.SO_WIFI_STATUS, "SO_WIFI_STATUS"),
			socket(unix.SO_SELECT_ERR_QUEUE, "SO_SELECT_ERR_QUEUE"), socket(unix.SO_ZEROCOPY, "SO_ZEROCOPY"),
			sized(socket(unix.SO_TXTIME, "SO_TXTIME"), 8), sized(socket(unix.SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE"), 8),
			socket(unix.SO_BUSY_POLL, "SO_BUSY_POLL"), socket(unix.SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL"),
			socket(unix.SO_BUSY_POLL_BUDGET, "SO_BUSY_POLL_BUDGET"), idle(socket(unix.SO_INCOMING_CPU, "SO_INCOMING_CPU")),
			socket(soTxRehash, "SO_TXREHASH"), socket(soRcvMark, "SO_RCVMARK"), socket(soRcvPriority, "SO_RCVPRIORITY"),
			socket(soReserveMem, "SO_RESERVE_MEM"),
			socket(unix.SO_RCVLOWAT, "SO_RCVLOWAT"),
		},
		[]Option{
			always(sized(tcp(unix.TCP_CONGESTION, "TCP_CONGESTION"), 16)),
			sized(tcp(unix.TCP_FASTOPEN_KEY, "TCP_FASTOPEN_KEY"), 32), idle(tcp(unix.TCP_FASTOPEN, "TCP_FASTOPEN")),
			tcp(unix.TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE"),
			tcp(unix.TCP_NODELAY, "TCP_NODELAY"), tcp(unix.TCP_CORK, "TCP_CORK"),
			tcp(unix.TCP_KEEPIDLE, "TCP_KEEPIDLE"), tcp(unix.TCP_KEEPINTVL, "TCP_KEEPINTVL"), tcp(unix.TCP_KEEPCNT, "TCP_KEEPCNT"),
			tcp(unix.TCP_SYNCNT, "TCP_SYNCNT"), tcp(unix.TCP_LINGER2, "TCP_LINGER2"), tcp(unix.TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"),
			idle(tcp(unix.TCP_WINDOW_CLAMP, "TCP_WINDOW_CLAMP")), tcp(unix.TCP_THIN_LINEAR_TIMEOUTS, "TCP_THIN_LINEAR_TIMEOUTS"),
			tcp(unix.TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT"), tcp(unix.TCP_NOTSENT_LOWAT, "TCP_NOTSENT_LOWAT"),
			tcp(unix.TCP_INQ, "TCP_INQ"), tcp(unix.TCP_TX_DELAY, "TCP_TX_DELAY"),
			tcp(tcpRTOMax, "TCP_RTO_MAX_MS"), tcp(tcpRTOMin, "TCP_RTO_MIN_US"), tcp(tcpDelAckMax, "TCP_DELACK_MAX_US"),
			udp(unix.UDP_CORK, "UDP_CORK"), udp(unix.UDP_ENCAP, "UDP_ENCAP"),
			udp(unix.UDP_NO_CHECK6_TX, "UDP_NO_CHECK6_TX"), udp(unix.UDP_NO_CHECK6_RX, "UDP_NO_CHECK6_RX"),
			udp(unix.UDP_SEGMENT, "UDP_SEGMENT"), udp(unix.UDP_GRO, "UDP_GRO"),
			{Level: unix.IPPROTO_UDPLITE, Name: 10, Label: "UDPLITE_SEND_CSCOV"},
			{Level: unix.IPPROTO_UDPLITE, Name: 11, Label: "UDPLITE_RECV_CSCOV"},
			{Level: unix.SOL_RAW, Name: 1, Label: "ICMP_FILTER"},
			{Level: unix.IPPROTO_ICMPV6, Name: 1, Label: "ICMPV6_FILTER", size: 32},
		},
		[]Option{
			late(tcp(unix.TCP_QUICKACK, "TCP_QUICKACK")),
			late(always(with(socket(unix.SO_SNDBUF, "SO_SNDBUF"), setBuffer(unix.SO_SNDBUFFORCE)))),
			late(always(with(socket(unix.SO_RCVBUF, "SO_RCVBUF"), setBuffer(unix.SO_RCVBUFFORCE)))),
			late(always(socket(soBufLock, "SO_BUF_LOCK"))),
			late(socket(unix.SO_PEEK_OFF, "SO_PEEK_OFF")),
			late(socket(unix.SO_LOCK_FILTER, "SO_LOCK_FILTER")),
		},
	)
}

// setBuffer sets the size of a buffer beyond the limits for unprivileged users.
// The kernel doubles what it is given, for its own use of the memory.
func setBuffer(force int) func(int, *Option, []byte) error {
	return func(fd int, o *Option, value []byte) error {
		if len(value) != 4 {
			return unix.EINVAL
		}
		return SetInt(fd, o.Level, force, int((binary.NativeEndian.Uint32(value)+1)/2))
	}
}

// without are the errors of a socket that has no such option, all that the kernel gives for it.
var without = []error{unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOTCONN}

// get asks for an option; nil means that the socket has no such option, an error that it
// was not told. The value is taken from room, which grows.
func (o *Option) get(fd int, room *[]byte) ([]byte, error) {
	size := o.size
	if size == 0 {
		size = 4
	}
	if cap(*room)-len(*room) < size {
		*room = make([]byte, 0, max(1024, size))
	}
	b := (*room)[len(*room) : len(*room)+size : len(*room)+size]
	n, err := GetInto(fd, o.Level, o.Name, b)
	if slices.Contains(without, err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Label, err)
	}
	b = b[:min(n, size)]
	if o.Name == unix.SO_BINDTODEVICE && o.Level == unix.SOL_SOCKET || o.Name == unix.TCP_CONGESTION && o.Level == unix.IPPROTO_TCP {
		b, _, _ = bytes.Cut(b, []byte{0})
	}
	*room = (*room)[:len(*room)+len(b)]
	return b[:len(b):len(b)], nil
}

// Values are the options of a socket in the order of the table, nil for one that
// it does not have.
type Values [][]byte

// Read asks for every option that a socket of its type can have.
func Read(fd int) (Values, error) {
	values := make(Values, len(table))
	kind, err := Int(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, err
	}
	family, err := Int(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil, err
	}
	foreign := foreignLevels(family, kind)
	room := make([]byte, 0, 1024)
	for i := range table {
		o := &table[i]
		if o.datagrams && kind == unix.SOCK_STREAM || slices.Contains(foreign, o.Level) {
			continue
		}
		if values[i], err = o.get(fd, &room); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// foreignLevels are those that a socket has no options of.
func foreignLevels(family, kind int) []int {
	levels := map[int][]int{
		unix.SOCK_STREAM: {unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.SOL_RAW, unix.IPPROTO_ICMPV6},
		unix.SOCK_DGRAM:  {unix.IPPROTO_TCP, unix.SOL_RAW, unix.IPPROTO_ICMPV6},
		unix.SOCK_RAW:    {unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE},
	}[kind]
	if family == unix.AF_INET {
		levels = append(levels, unix.IPPROTO_IPV6)
	}
	return levels
}

// Changed calls keep for each option of the socket that differs from those of a
// new one, and for those whose first value depends on the machine. connected
// tells that the socket is connected. Without any values of a new one all are kept.
func Changed(now, fresh Values, connected bool, keep func(o *Option, value []byte)) {
	for i := range table {
		o := &table[i]
		if now[i] == nil || o.idle && connected {
			continue
		}
		if o.always || len(fresh) == 0 || !bytes.Equal(now[i], fresh[i]) {
			keep(o, now[i])
		}
	}
}

// Apply gives a socket an option if it has another value now.
func (o *Option) Apply(fd int, value []byte) error {
	var room []byte
	if now, err := o.get(fd, &room); err == nil && bytes.Equal(now, value) {
		return nil
	}
	set := o.set
	if set == nil {
		set = func(fd int, o *Option, value []byte) error { return Set(fd, o.Level, o.Name, value) }
	}
	if err := set(fd, o, value); err != nil {
		return fmt.Errorf("set %s: %w", o.Label, err)
	}
	return nil
}

// ErrUnknownOption is an option that the table does not have.
var ErrUnknownOption = errors.New("socket option is not known")

// Find gives the option with a level and a name.
func Find(level, name int) (*Option, error) {
	for i := range table {
		if table[i].Level == level && table[i].Name == name {
			return &table[i], nil
		}
	}
	return nil, fmt.Errorf("%w: level %d, name %d", ErrUnknownOption, level, name)
}

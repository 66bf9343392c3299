package specs

// InetSocket is a tcp(7), udp(7), raw(7) or icmp socket over IPv4 or IPv6.
type InetSocket struct {
	Description `cbor:"1,keyasint,omitempty"`
	Inode       uint64 `cbor:"2,keyasint,omitempty"`
	// Family, Kind and Protocol are those of socket(2).
	Family   int32 `cbor:"3,keyasint,omitempty"`
	Kind     int32 `cbor:"4,keyasint,omitempty"`
	Protocol int32 `cbor:"5,keyasint,omitempty"`
	// State is the kernel's TCP_* number (include/net/tcp_states.h).
	State int32 `cbor:"6,keyasint,omitempty"`
	// Local and Remote are raw struct sockaddr_in or sockaddr_in6, nil if not
	// bound or not connected.
	Local  []byte `cbor:"7,keyasint,omitempty"`
	Remote []byte `cbor:"8,keyasint,omitempty"`
	// Backlog is that of listen(2).
	Backlog int32 `cbor:"9,keyasint,omitempty"`
	// Shutdown is 1 for receiving, 2 for sending, 3 for both.
	Shutdown int32 `cbor:"10,keyasint,omitempty"`
	// Options are those of setsockopt(2) that a new socket has not, Filter is
	// the classic packet filter of SO_ATTACH_FILTER (struct sock_filter each).
	Options []SocketOption `cbor:"11,keyasint,omitempty"`
	// Queue are datagrams received and not yet read.
	Queue []Datagram `cbor:"12,keyasint,omitempty"`
	// TCP is the state of a connection.
	TCP *TCP `cbor:"13,keyasint,omitempty"`
	// UID and GID own the socket: sockets of one user alone share a port.
	UID    uint32 `cbor:"14,keyasint,omitempty"`
	GID    uint32 `cbor:"15,keyasint,omitempty"`
	Filter []byte `cbor:"16,keyasint,omitempty"`
	// Interface is the name of the interface that the scope of the local or
	// the remote address meant.
	Interface string `cbor:"17,keyasint,omitempty"`
	// Groups are the multicast groups that it is a member of.
	Groups []Membership `cbor:"18,keyasint,omitempty"`
	// Waiting are the connections that wait for accept(2), the oldest first.
	Waiting []Waiting `cbor:"19,keyasint,omitempty"`
	// Detached is true for a socket that no descriptor of a table holds, such as
	// one in flight.
	Detached bool `cbor:"20,keyasint,omitempty"`
}

// RecordType implements Record.
func (*InetSocket) RecordType() Type { return TypeInetSocket }

// TCP is a connection. Its sequence numbers are left out where both ends are in
// the image and agree, since any will do then.
type TCP struct {
	// Peer is the other end if it is in the image, 0 else; Outside tells that
	// it is elsewhere and may live on. If neither, the peer is gone. A
	// client that is not accepted yet has the listening socket as its Peer and
	// stands in its list.
	Peer    ID   `cbor:"1,keyasint,omitempty"`
	Outside bool `cbor:"2,keyasint,omitempty"`
	// Exact tells that the sequence numbers are there: those behind the last byte
	// of SendData and RecvData.
	Exact   bool   `cbor:"3,keyasint,omitempty"`
	SendSeq uint32 `cbor:"4,keyasint,omitempty"`
	RecvSeq uint32 `cbor:"5,keyasint,omitempty"`
	// SendData is what the peer has not acknowledged, Unsent how many bytes at
	// its end were never sent.
	SendData []byte `cbor:"6,keyasint,omitempty"`
	Unsent   uint32 `cbor:"7,keyasint,omitempty"`
	RecvData []byte `cbor:"8,keyasint,omitempty"`
	// Options are pairs of code and value of TCP_REPAIR_OPTIONS.
	Options [][2]uint32 `cbor:"9,keyasint,omitempty"`
	// Timestamp is that of TCP_TIMESTAMP, Window struct tcp_repair_window.
	Timestamp uint32 `cbor:"10,keyasint,omitempty"`
	Window    []byte `cbor:"11,keyasint,omitempty"`
	// Lock is the table of nf_tables that holds the packets of the connection
	// back in the network namespace that it was in.
	Lock string `cbor:"15,keyasint,omitempty"`
	// SendMSS is the size of the segments that are sent, in bytes of data.
	SendMSS uint32 `cbor:"16,keyasint,omitempty"`
	// SendWindow is how many bytes the peer takes, where Window is not there.
	SendWindow uint32 `cbor:"14,keyasint,omitempty"`
	// Reset tells that the connection was given up with the checkpoint: its
	// program is to see ECONNRESET.
	Reset bool `cbor:"12,keyasint,omitempty"`
	// Orphan tells that the peer was closed and that the kernel still had its
	// end.
	Orphan bool `cbor:"13,keyasint,omitempty"`
}

// Datagram is one packet in a queue.
type Datagram struct {
	// From is the sender's raw address, To the destination's IP address (4 or 16
	// bytes) if the socket asked for it.
	From []byte `cbor:"1,keyasint,omitempty"`
	To   []byte `cbor:"2,keyasint,omitempty"`
	Data []byte `cbor:"3,keyasint,omitempty"`
	// TTL and TOS are plus one, 0 if not known.
	TTL int32 `cbor:"4,keyasint,omitempty"`
	TOS int32 `cbor:"5,keyasint,omitempty"`
}

// Membership is one multicast group of a socket (MCAST_JOIN_GROUP).
type Membership struct {
	Interface string `cbor:"1,keyasint,omitempty"`
	// Group and Sources are IP addresses of 4 or 16 bytes; Mode is MCAST_EXCLUDE
	// (0) or MCAST_INCLUDE (1).
	Group   []byte   `cbor:"2,keyasint,omitempty"`
	Mode    uint32   `cbor:"3,keyasint,omitempty"`
	Sources [][]byte `cbor:"4,keyasint,omitempty"`
}

// Waiting is a connection that a listening socket has not accepted yet.
type Waiting struct {
	// Client is the other end, 0 if it was closed: Local and Remote are the raw
	// addresses, as the listening side has them.
	Client ID     `cbor:"1,keyasint,omitempty"`
	Local  []byte `cbor:"2,keyasint,omitempty"`
	Remote []byte `cbor:"3,keyasint,omitempty"`
	// Data is what was received, Ended whether the client ended its stream,
	// Reset whether it has reset the connection since.
	Data  []byte `cbor:"4,keyasint,omitempty"`
	Ended bool   `cbor:"5,keyasint,omitempty"`
	Reset bool   `cbor:"6,keyasint,omitempty"`
}

// Numbers of address_families(7), socket(2) and include/net/tcp_states.h.
const (
	afInet, afInet6          = 2, 10
	maxState                 = 12
	addrSize, addr6Size      = 16, 28
	maxOptions, maxOptionLen = 1 << 12, 1 << 16
	maxQueue                 = 1 << 20
	// ipprotoMPTCP is the highest protocol (include/uapi/linux/in.h).
	ipprotoMPTCP = 262
)

// Validate implements Record.
func (s *InetSocket) Validate() error {
	return first(s.Description.validate(),
		oneOf("family", s.Family, afInet, afInet6), within("kind", s.Kind, 1, 3), within("protocol", s.Protocol, 0, ipprotoMPTCP),
		within("state", s.State, 0, maxState), within("shutdown", s.Shutdown, 0, 3),
		address("local address", s.Local, s.Family), address("remote address", s.Remote, s.Family),
		options(s.Options), sockFilter("filter", s.Filter), text("interface", s.Interface, 15), ownable(s.UID, s.GID),
		atMost("queue", len(s.Queue), maxQueue), atMost("groups", len(s.Groups), maxQueue), atMost("waiting connections", len(s.Waiting), maxQueue),
		each("datagram", s.Queue, func(d *Datagram) error {
			return first(atMost("data", len(d.Data), 1<<16), address("sender", d.From, s.Family), sized("destination", len(d.To), 0, 4, 16),
				within("TTL", d.TTL, 0, 256), within("TOS", d.TOS, 0, 256))
		}),
		each("group", s.Groups, (*Membership).validate),
		each("waiting connection", s.Waiting, func(w *Waiting) error {
			return first(address("local address", w.Local, s.Family), address("remote address", w.Remote, s.Family))
		}),
		s.TCP.validate(),
	)
}

// address checks a raw address of a family, which may be missing.
func address(name string, raw []byte, family int32) error {
	want := addrSize
	if family == afInet6 {
		want = addr6Size
	}
	if err := sized(name, len(raw), 0, want); err != nil || len(raw) == 0 {
		return err
	}
	return oneOf("family of the "+name, int32(raw[0])|int32(raw[1])<<8, family)
}

// options checks options of setsockopt(2).
func options(list []SocketOption) error {
	return first(atMost("options", len(list), maxOptions), each("option", list, func(o *SocketOption) error {
		return atMost("value", len(o.Value), maxOptionLen)
	}))
}

func (m *Membership) validate() error {
	return first(text("interface", m.Interface, 15), sized("group", len(m.Group), 4, 16), within("mode", m.Mode, 0, 1),
		atMost("sources", len(m.Sources), maxQueue),
		each("source", m.Sources, func(b *[]byte) error { return sized("address", len(*b), len(m.Group)) }))
}

func (t *TCP) validate() error {
	if t == nil {
		return nil
	}
	return first(atMost("options of the connection", len(t.Options), 16), sized("window", len(t.Window), 0, 20), text("lock", t.Lock, 64),
		within("unsent bytes", t.Unsent, 0, uint32(len(t.SendData))))
}

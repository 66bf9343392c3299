package specs

// NetlinkSocket is a netlink(7) socket with nothing in its queue.
type NetlinkSocket struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Kind is SOCK_RAW or SOCK_DGRAM, Protocol NETLINK_ROUTE and the like.
	Kind     int32 `cbor:"2,keyasint,omitempty"`
	Protocol int32 `cbor:"3,keyasint,omitempty"`
	// Port is the socket's own address (nl_pid), 0 for one that is not bound.
	Port uint32 `cbor:"4,keyasint,omitempty"`
	// Groups are the multicast groups that it has joined, counted from 1.
	Groups []uint32 `cbor:"5,keyasint,omitempty"`
	// PeerPort and PeerGroup are what it is connected to, 0 for the kernel and for
	// no group.
	PeerPort  uint32 `cbor:"6,keyasint,omitempty"`
	PeerGroup uint32 `cbor:"7,keyasint,omitempty"`
	// Options are those of the levels SOL_SOCKET and SOL_NETLINK.
	Options []SocketOption `cbor:"8,keyasint,omitempty"`
	// UID and GID own the socket.
	UID uint32 `cbor:"9,keyasint,omitempty"`
	GID uint32 `cbor:"10,keyasint,omitempty"`
}

// RecordType implements Record.
func (*NetlinkSocket) RecordType() Type { return TypeNetlinkSocket }

// Validate implements Record.
func (s *NetlinkSocket) Validate() error {
	const maxProtocol = 31 // MAX_LINKS
	return first(s.Description.validate(), within("kind", s.Kind, 2, 3), within("protocol", s.Protocol, 0, maxProtocol),
		atMost("groups", len(s.Groups), maxQueue), options(s.Options), ownable(s.UID, s.GID))
}

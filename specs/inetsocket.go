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
	Backlog  int32          `cbor:"9,keyasint,omitempty"`
	Shutdown int32          `cbor:"10,keyasint,omitempty"`
	Options  []SocketOption `cbor:"11,keyasint,omitempty"`
	// Queue are datagrams received and not yet read.
	Queue []Message `cbor:"12,keyasint,omitempty"`
	// TCP is the state of an established connection.
	TCP *TCP `cbor:"13,keyasint,omitempty"`
}

// RecordType implements Record.
func (*InetSocket) RecordType() Type { return TypeInetSocket }

// TCP is an established connection, as TCP_REPAIR reads it (tcp(7)).
type TCP struct {
	SendSeq  uint32 `cbor:"1,keyasint,omitempty"`
	RecvSeq  uint32 `cbor:"2,keyasint,omitempty"`
	SendData []byte `cbor:"3,keyasint,omitempty"`
	// Unsent is how many bytes at the end of SendData were never sent.
	Unsent   uint32 `cbor:"4,keyasint,omitempty"`
	RecvData []byte `cbor:"5,keyasint,omitempty"`
	// Options are pairs of code and value of TCP_REPAIR_OPTIONS.
	Options   [][2]uint32 `cbor:"6,keyasint,omitempty"`
	Timestamp uint32      `cbor:"7,keyasint,omitempty"`
	// Window is struct tcp_repair_window.
	Window []byte `cbor:"8,keyasint,omitempty"`
}

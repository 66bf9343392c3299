package specs

// UnixSocket is a unix(7) socket.
type UnixSocket struct {
	Description `cbor:"1,keyasint,omitempty"`
	Inode       uint64 `cbor:"2,keyasint,omitempty"`
	// Kind is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
	Kind int32 `cbor:"3,keyasint,omitempty"`
	// State is "unconnected", "listening" or "connected".
	State string `cbor:"4,keyasint,omitempty"`
	// Name is sun_path as bound: a path, or with a leading NUL an abstract name;
	// Dir the working directory at the bind if the path is relative.
	Name []byte `cbor:"5,keyasint,omitempty"`
	// Unlinked tells that the path no longer leads to the socket.
	Unlinked bool `cbor:"6,keyasint,omitempty"`
	// Mode, UID and GID are those of the socket's file.
	Mode uint32 `cbor:"7,keyasint,omitempty"`
	UID  uint32 `cbor:"8,keyasint,omitempty"`
	GID  uint32 `cbor:"9,keyasint,omitempty"`
	// Peer is the other end's ID, 0 if it is gone or none; PeerName its name
	// when the peer is gone.
	Peer ID `cbor:"10,keyasint,omitempty"`
	// Backlog is that of listen(2), Pending the connections that wait for
	// accept(2): their IDs (each is a socket without a descriptor whose Peer
	// is the client).
	Backlog int32 `cbor:"11,keyasint,omitempty"`
	Pending []ID  `cbor:"12,keyasint,omitempty"`
	// Queue is what was received and not yet read.
	Queue []Message `cbor:"13,keyasint,omitempty"`
	// Shutdown is 1 for reading, 2 for writing, 3 for both.
	Shutdown int32 `cbor:"14,keyasint,omitempty"`
	// Options are those of setsockopt(2) at level SOL_SOCKET that were changed.
	Options []SocketOption `cbor:"15,keyasint,omitempty"`
	// PeerPID, PeerUID and PeerGID are those of SO_PEERCRED.
	PeerPID int32  `cbor:"16,keyasint,omitempty"`
	PeerUID uint32 `cbor:"17,keyasint,omitempty"`
	PeerGID uint32 `cbor:"18,keyasint,omitempty"`
	// PeekOff is SO_PEEK_OFF plus one.
	PeekOff int32 `cbor:"19,keyasint,omitempty"`
	// Detached is true for a socket that no descriptor holds (a connection that
	// waits to be accepted, or one in flight).
	Detached bool `cbor:"20,keyasint,omitempty"`
}

// RecordType implements Record.
func (*UnixSocket) RecordType() Type { return TypeUnixSocket }

// Message is one datagram, packet or piece of a stream in a queue.
type Message struct {
	Data []byte `cbor:"1,keyasint,omitempty"`
	// Files are descriptions in flight (SCM_RIGHTS).
	Files []ID `cbor:"2,keyasint,omitempty"`
	// From is the sender's address, Creds tell pid, uid and gid of SCM_CREDENTIALS.
	From  []byte   `cbor:"3,keyasint,omitempty"`
	Creds []uint32 `cbor:"4,keyasint,omitempty"`
}

// SocketOption is one option of setsockopt(2).
type SocketOption struct {
	Level int32  `cbor:"1,keyasint,omitempty"`
	Name  int32  `cbor:"2,keyasint,omitempty"`
	Value []byte `cbor:"3,keyasint,omitempty"`
}

package specs

// UnixSocket is a unix(7) socket.
type UnixSocket struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Inode is the socket's number in sockfs, an identity only.
	Inode uint64 `cbor:"2,keyasint,omitempty"`
	// Kind is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
	Kind int32 `cbor:"3,keyasint,omitempty"`
	// State is "unconnected", "listening" or "connected".
	State string `cbor:"4,keyasint,omitempty"`
	// Name is what stands in sun_path: a path as it was given to bind(2), without
	// the NUL at its end, or with a leading NUL an abstract name.
	Name []byte `cbor:"5,keyasint,omitempty"`
	// Unlinked tells that no path leads to the socket's file any more.
	Unlinked bool `cbor:"6,keyasint,omitempty"`
	// Mode, UID and GID are those of the socket's file.
	Mode uint32 `cbor:"7,keyasint,omitempty"`
	UID  uint32 `cbor:"8,keyasint,omitempty"`
	GID  uint32 `cbor:"9,keyasint,omitempty"`
	// Atime and Mtime are the file's, in nanoseconds since the epoch.
	Atime int64 `cbor:"30,keyasint,omitempty"`
	Mtime int64 `cbor:"31,keyasint,omitempty"`
	// Peer is the other end's ID, 0 if it is closed or if there was none. PeerName
	// is what getpeername(2) tells when the other end is closed.
	Peer     ID     `cbor:"10,keyasint,omitempty"`
	PeerName []byte `cbor:"21,keyasint,omitempty"`
	// Backlog is that of listen(2), Pending the connections that wait for
	// accept(2), the oldest first. Each is a socket without a descriptor whose
	// Peer is the client.
	Backlog int32 `cbor:"11,keyasint,omitempty"`
	Pending []ID  `cbor:"12,keyasint,omitempty"`
	// Queue is what was received and not yet read.
	Queue []Message `cbor:"13,keyasint,omitempty"`
	// Shutdown is 1 for reading, 2 for writing, 3 for both.
	Shutdown int32 `cbor:"14,keyasint,omitempty"`
	// Options are those of setsockopt(2).
	Options []SocketOption `cbor:"15,keyasint,omitempty"`
	// HasPeerCred tells that SO_PEERCRED is set: PeerPID (a number of the tree's
	// pid namespace, 0 for a process outside), PeerUID, PeerGID, and PeerGroups
	// of SO_PEERGROUPS.
	PeerPID     int32    `cbor:"16,keyasint,omitempty"`
	PeerUID     uint32   `cbor:"17,keyasint,omitempty"`
	PeerGID     uint32   `cbor:"18,keyasint,omitempty"`
	HasPeerCred bool     `cbor:"22,keyasint,omitempty"`
	PeerGroups  []uint32 `cbor:"23,keyasint,omitempty"`
	// PeekOff is SO_PEEK_OFF plus one.
	PeekOff int32 `cbor:"19,keyasint,omitempty"`
	// Detached is true for a socket that no descriptor holds: a connection that
	// waits to be accepted.
	Detached bool `cbor:"20,keyasint,omitempty"`
	// Path is where the socket's file is, seen from the container's root: another
	// place than Name if the name is relative or the file was renamed.
	Path string `cbor:"24,keyasint,omitempty"`
	// Accepted tells that the socket came out of accept(2): it has the name of
	// the listening socket without being bound to it.
	Accepted bool `cbor:"25,keyasint,omitempty"`
	// Reset tells that an error (ECONNRESET) waits to be told.
	Reset bool `cbor:"26,keyasint,omitempty"`
	// InodeMode, InodeUID and InodeGID are what fstat(2) of the socket tells.
	InodeMode uint32 `cbor:"27,keyasint,omitempty"`
	InodeUID  uint32 `cbor:"28,keyasint,omitempty"`
	InodeGID  uint32 `cbor:"29,keyasint,omitempty"`
}

// RecordType implements Record.
func (*UnixSocket) RecordType() Type { return TypeUnixSocket }

// Message is one datagram, packet or piece of a stream in a queue.
type Message struct {
	Data []byte `cbor:"1,keyasint,omitempty"`
	// Files are descriptions in flight (SCM_RIGHTS).
	Files []ID `cbor:"2,keyasint,omitempty"`
	// From is the sender's address, Creds tell pid, uid and gid of
	// SCM_CREDENTIALS; empty if they were not asked for.
	From  []byte   `cbor:"3,keyasint,omitempty"`
	Creds []uint32 `cbor:"4,keyasint,omitempty"`
}

// SocketOption is one option of setsockopt(2).
type SocketOption struct {
	Level int32  `cbor:"1,keyasint,omitempty"`
	Name  int32  `cbor:"2,keyasint,omitempty"`
	Value []byte `cbor:"3,keyasint,omitempty"`
}

// sunPath is the size of sun_path (unix(7)).
const sunPath = 108

// Validate implements Record.
func (s *UnixSocket) Validate() error {
	return first(s.Description.validate(), oneOf("kind", s.Kind, 1, 2, 5), oneOf("state", s.State, "unconnected", "listening", "connected"),
		atMost("name", len(s.Name), sunPath), atMost("name of the other end", len(s.PeerName), sunPath+2), anyPath("path", s.Path),
		within("mode", s.Mode, 0, 0o177777), ownable(s.UID, s.GID), within("shutdown", s.Shutdown, 0, 3), options(s.Options),
		pid("pid of the other end", s.PeerPID), atMost("groups of the other end", len(s.PeerGroups), MaxGroups),
		atMost("queue", len(s.Queue), maxQueue), atMost("waiting connections", len(s.Pending), maxQueue),
		distinct("waiting connection", s.Pending, func(id *ID) ID { return *id }),
		each("message", s.Queue, func(m *Message) error {
			// SCM_MAX_FD descriptors come with a message (net/core/scm.c).
			return first(atMost("descriptors", len(m.Files), 253), atMost("sender", len(m.From), sunPath+2), oneOf("number of credentials", len(m.Creds), 0, 3))
		}))
}

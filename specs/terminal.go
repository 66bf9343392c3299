package specs

// Terminal is one open description of a pseudo-terminal (pty(7)), a master or a
// slave.
type Terminal struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Index is N of /dev/pts/N in the container's devpts.
	Index  int32  `cbor:"2,keyasint,omitempty"`
	Master bool   `cbor:"3,keyasint,omitempty"`
	Path   string `cbor:"4,keyasint,omitempty"`
	// Console is true for the container's console, whose master is outside: it
	// takes the fresh container's own.
	Console bool `cbor:"5,keyasint,omitempty"`
	// Termios is struct termios2, Size struct winsize.
	Termios []byte `cbor:"6,keyasint,omitempty"`
	Size    []byte `cbor:"7,keyasint,omitempty"`
	// Locked is that of TIOCGPTLCK, Packet of TIOCGPKT, Exclusive of TIOCGEXCL.
	Locked    bool `cbor:"8,keyasint,omitempty"`
	Packet    bool `cbor:"9,keyasint,omitempty"`
	Exclusive bool `cbor:"10,keyasint,omitempty"`
	// Input is what waits to be read.
	Input []byte `cbor:"11,keyasint,omitempty"`
	// Mode, UID and GID are those of the slave's file.
	Mode uint32 `cbor:"12,keyasint,omitempty"`
	UID  uint32 `cbor:"13,keyasint,omitempty"`
	GID  uint32 `cbor:"14,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Terminal) RecordType() Type { return TypeTerminal }

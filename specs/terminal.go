package specs

// Terminal is one open description of a pseudo-terminal (pty(7)), a master or a
// slave; or, as the controlling terminal of a session that has none of it open,
// a record that no descriptor leads to.
type Terminal struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Index is N of /dev/pts/N in the container's devpts.
	Index  int32 `cbor:"2,keyasint,omitempty"`
	Master bool  `cbor:"3,keyasint,omitempty"`
	// Path is what the descriptor leads to: "/dev/pts/1", "/dev/ptmx",
	// "/dev/console", "/dev/tty".
	Path string `cbor:"4,keyasint,omitempty"`
	// Console is true for the container's console, whose master is outside: it
	// takes the fresh container's own.
	Console bool `cbor:"5,keyasint,omitempty"`
	// Current is true for a description of /dev/tty: which terminal it is was
	// decided by the session of the task that opened it.
	Current bool `cbor:"6,keyasint,omitempty"`
	// HungUp is true for a slave that can only say that its terminal has hung up;
	// Gone if the pair does not exist any more.
	HungUp bool `cbor:"7,keyasint,omitempty"`
	Gone   bool `cbor:"8,keyasint,omitempty"`
	// Pair is what both ends have in common. One record of each pair has it.
	Pair *TerminalPair `cbor:"9,keyasint,omitempty"`
}

// TerminalPair is the state of a pseudo-terminal, which its two ends share.
type TerminalPair struct {
	// Termios is struct termios2 (TCGETS2), Fixed that of TIOCGLCKTRMIOS without
	// its speeds, Size struct winsize (ioctl_tty(2)).
	Termios []byte `cbor:"1,keyasint,omitempty"`
	Fixed   []byte `cbor:"2,keyasint,omitempty"`
	Size    []byte `cbor:"3,keyasint,omitempty"`
	// Locked is that of TIOCGPTLCK, Packet of TIOCGPKT, Exclusive of TIOCGEXCL.
	Locked    bool `cbor:"4,keyasint,omitempty"`
	Packet    bool `cbor:"5,keyasint,omitempty"`
	Exclusive bool `cbor:"6,keyasint,omitempty"`
	// Opened tells that the slave was open at some time: a master whose slave is
	// closed hangs up, one whose slave never was opened does not.
	Opened bool `cbor:"7,keyasint,omitempty"`
	// Mode, UID and GID are those of the slave's file.
	Mode uint32 `cbor:"8,keyasint,omitempty"`
	UID  uint32 `cbor:"9,keyasint,omitempty"`
	GID  uint32 `cbor:"10,keyasint,omitempty"`
	// Lines are complete lines that wait in a slave's canonical mode, one for
	// each read(2); one that does not end as a line does was ended by the
	// end-of-file character. Rest is what was typed after them, or in raw mode
	// all that waits. Output waits for the reader of the master.
	Lines  [][]byte `cbor:"11,keyasint,omitempty"`
	Rest   []byte   `cbor:"12,keyasint,omitempty"`
	Output []byte   `cbor:"13,keyasint,omitempty"`
	// Typed has not come to the line discipline yet, which is full. Next tells
	// that the next character is to be taken literally (VLNEXT).
	Typed []byte `cbor:"14,keyasint,omitempty"`
	Next  bool   `cbor:"15,keyasint,omitempty"`
	// Stopped tells that output was stopped by VSTOP, Suspended by tcflow(3).
	Stopped   bool `cbor:"16,keyasint,omitempty"`
	Suspended bool `cbor:"17,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Terminal) RecordType() Type { return TypeTerminal }

// Sizes of struct termios2 and winsize (ioctl_tty(2)), and of what the line
// discipline holds at most (N_TTY_BUF_SIZE) with the buffers before it.
const (
	termiosSize = 44
	winsizeSize = 8
	maxTyped    = 1 << 20
)

// Validate implements Record.
func (t *Terminal) Validate() error {
	err := first(t.Description.validate(), within("number", t.Index, 0, MaxTerminal), anyPath("path", t.Path))
	if err != nil || t.Pair == nil {
		return err
	}
	p := t.Pair
	typed := len(p.Rest) + len(p.Typed)
	for _, l := range p.Lines {
		typed += len(l)
	}
	return first(sized("settings", len(p.Termios), 0, termiosSize), sized("size", len(p.Size), 0, winsizeSize),
		atMost("fixed settings", len(p.Fixed), termiosSize), atMost("input", typed, maxTyped), atMost("output", len(p.Output), maxTyped),
		within("mode", p.Mode, 0, 0o177777), ownable(p.UID, p.GID))
}

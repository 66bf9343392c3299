package procfs

import (
	"bytes"
	"math"
)

// UnixSocket is one line of /proc/net/unix (unix(7), net/unix/af_unix.c,
// unix_seq_show).
type UnixSocket struct {
	RefCount uint32
	Protocol uint32
	// Flags has 0x10000 (__SO_ACCEPTCON) for a listening socket.
	Flags uint32
	// Type is SOCK_*, State the SS_* of include/uapi/linux/net.h: 1
	// unconnected, 2 connecting, 3 connected.
	Type, State uint32
	// Inode is the number in "socket:[N]".
	Inode uint64
	// Path is the name, "" if HasPath is false. The kernel writes each zero
	// byte as "@", so that an abstract name begins with "@", and does not
	// escape a line feed: a socket's owner can forge lines here. sock_diag(7)
	// has the name as it is.
	Path    string
	HasPath bool
}

// Listening tells whether listen(2) was called on the socket.
func (s *UnixSocket) Listening() bool { return s.Flags&0x10000 != 0 }

// ParseNetUnix reads /proc/PID/net/unix. A line that does not look like a socket
// is the rest of the name in the line before it.
func ParseNetUnix(b []byte) ([]UnixSocket, error) {
	head, rest := nextLine(b)
	if !bytes.HasPrefix(head, []byte("Num ")) {
		return nil, badLine("net/unix", 1, head, "not the heads of the columns")
	}
	var sockets []UnixSocket
	var start, end int // the last socket's name is b[start:end]
	flush := func() {
		if n := len(sockets); n > 0 {
			sockets[n-1].Path = string(b[start:end])
		}
	}
	for n := 2; len(rest) > 0; n++ {
		lineEnd := len(b) - len(rest)
		var line []byte
		line, rest = nextLine(rest)
		lineEnd += len(line)
		s, name, ok := parseUnixLine(line)
		switch {
		case ok:
			flush()
			sockets = append(sockets, s)
			start, end = lineEnd-len(name), lineEnd
		case len(sockets) > 0 && sockets[len(sockets)-1].HasPath:
			end = lineEnd
		default:
			return nil, badLine("net/unix", n, line, "not a socket")
		}
	}
	flush()
	return sockets, nil
}

// parseUnixLine reads "ADDRESS: REFCOUNT PROTOCOL FLAGS TYPE STATE INODE NAME".
func parseUnixLine(line []byte) (s UnixSocket, name []byte, ok bool) {
	address, rest := nextField(line)
	address, ok = bytes.CutSuffix(address, []byte(":"))
	if _, hex := parseUint(address, 16); !ok || !hex || len(address) < 8 {
		return s, nil, false
	}
	for _, to := range []*uint32{&s.RefCount, &s.Protocol, &s.Flags, &s.Type, &s.State} {
		var f []byte
		f, rest = nextField(rest)
		v, ok := parseUint(f, 16)
		if !ok || v > math.MaxUint32 {
			return s, nil, false
		}
		*to = uint32(v)
	}
	inode, rest := nextField(rest)
	if s.Inode, ok = parseUint(inode, 10); !ok {
		return s, nil, false
	}
	// One blank parts the name; any other belongs to it.
	name, s.HasPath = bytes.CutPrefix(rest, []byte(" "))
	return s, name, true
}

package afunix

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Info is what sock_diag(7) tells of a unix socket (net/unix/diag.c).
type Info struct {
	Inode uint64
	// Type is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.
	Type int
	// State is the kernel's: Established, Listen or Close.
	State int
	Name  []byte
	// HasPeer tells that the socket was connected; Peer is the other end's
	// inode, 0 if it has none: it is closed, or not accepted yet.
	HasPeer bool
	Peer    uint64
	// Pending are the inodes of the clients whose connections wait to be accepted, in
	// order; 0 stands for one that has closed its end already.
	Pending []uint64
	// Received and Sent are bytes in the queues; of a listening socket they
	// are the number of waiting connections and the backlog.
	Received, Sent uint32
	// Shutdown has bit 0 for reading, bit 1 for writing.
	Shutdown int
	// FileInode is that of the file it is bound to, 0 for none.
	FileInode uint32
}

// States of a unix socket (include/net/tcp_states.h).
const (
	Established = 1
	Close       = 7
	Listen      = 10
)

// Attributes (include/uapi/linux/unix_diag.h).
const (
	attrName     = 0
	attrVFS      = 1
	attrPeer     = 2
	attrIcons    = 3
	attrRqlen    = 4
	attrShutdown = 6

	showName  = 1
	showVFS   = 2
	showPeer  = 4
	showIcons = 8
	showRqlen = 16

	requestSize = unix.NLMSG_HDRLEN + 24
	messageSize = 16
)

// DiagSocket opens a sock_diag(7) socket in the network namespace of the calling
// thread.
func DiagSocket() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket(NETLINK_SOCK_DIAG)", err)
	}
	return os.NewFile(uintptr(fd), "sock_diag"), nil
}

// Dump lists all unix sockets of the namespace of a socket of DiagSocket.
func Dump(diag *os.File) ([]Info, error) {
	b := make([]byte, requestSize)
	e := binary.NativeEndian
	e.PutUint32(b, requestSize)
	e.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	e.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	e.PutUint32(b[8:], 1)
	b[unix.NLMSG_HDRLEN] = unix.AF_UNIX
	e.PutUint32(b[unix.NLMSG_HDRLEN+4:], ^uint32(0))
	e.PutUint32(b[unix.NLMSG_HDRLEN+12:], showName|showVFS|showPeer|showIcons|showRqlen)
	fd := int(diag.Fd())
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sock_diag", err)
	}
	var all []Info
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("sock_diag", err)
		}
		infos, done, err := ParseDump(buf[:n])
		if err != nil {
			return nil, err
		}
		all = append(all, infos...)
		if done {
			return all, nil
		}
	}
}

var errShort = errors.New("sock_diag: message is cut short")

// ParseDump reads one piece of a dump; done tells that it was the last.
func ParseDump(b []byte) (infos []Info, done bool, err error) {
	e := binary.NativeEndian
	for len(b) >= unix.NLMSG_HDRLEN {
		size := int(e.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return nil, false, errShort
		}
		payload := b[unix.NLMSG_HDRLEN:size]
		switch e.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return infos, true, nil
		case unix.NLMSG_ERROR:
			if len(payload) < 4 {
				return nil, false, errShort
			}
			errno := unix.Errno(-int32(e.Uint32(payload)))
			return nil, false, fmt.Errorf("sock_diag of unix sockets (needs CONFIG_UNIX_DIAG): %w", errno)
		case unix.SOCK_DIAG_BY_FAMILY:
			info, err := parseInfo(payload)
			if err != nil {
				return nil, false, err
			}
			infos = append(infos, info)
		}
		b = b[min(align(size), len(b)):]
	}
	return infos, false, nil
}

func align(n int) int { return (n + 3) &^ 3 }

// parseInfo reads struct unix_diag_msg and its attributes.
func parseInfo(b []byte) (Info, error) {
	e := binary.NativeEndian
	if len(b) < messageSize {
		return Info{}, errShort
	}
	info := Info{Type: int(b[1]), State: int(b[2]), Inode: uint64(e.Uint32(b[4:]))}
	b = b[messageSize:]
	for len(b) >= 4 {
		size := int(e.Uint16(b))
		if size < 4 || size > len(b) {
			return info, errShort
		}
		v := b[4:size]
		if need := attrSizes[e.Uint16(b[2:])]; len(v) < need {
			return info, errShort
		}
		switch e.Uint16(b[2:]) {
		case attrName:
			info.Name = Decode(append(make([]byte, familySize), v...))
		case attrVFS:
			info.FileInode = e.Uint32(v)
		case attrPeer:
			info.HasPeer, info.Peer = true, uint64(e.Uint32(v))
		case attrIcons:
			for ; len(v) >= 4; v = v[4:] {
				info.Pending = append(info.Pending, uint64(e.Uint32(v)))
			}
		case attrRqlen:
			info.Received, info.Sent = e.Uint32(v), e.Uint32(v[4:])
		case attrShutdown:
			info.Shutdown = int(v[0])
		}
		b = b[min(align(size), len(b)):]
	}
	return info, nil
}

// attrSizes are the least sizes of attributes.
var attrSizes = map[uint16]int{attrVFS: 8, attrPeer: 4, attrRqlen: 8, attrShutdown: 1}

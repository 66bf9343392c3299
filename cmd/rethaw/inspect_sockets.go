package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
)

// describeUnix says what a unix socket is.
func describeUnix(s *specs.UnixSocket) string {
	kinds := map[int32]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "dgram", unix.SOCK_SEQPACKET: "seqpacket"}
	text := fmt.Sprintf("unix %s socket, %s", kinds[s.Kind], s.State)
	if len(s.Name) > 0 {
		// An abstract name begins with NUL, which people write as @.
		text += " " + strings.Replace(string(s.Name), "\x00", "@", 1)
	}
	if len(s.Queue) > 0 {
		text += ", " + counted(len(s.Queue), "message") + " in its queue"
	}
	return text
}

// describeInet says what an internet socket is.
func describeInet(s *specs.InetSocket) string {
	kinds := map[int32]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp", unix.SOCK_RAW: "raw"}
	text := kinds[s.Kind] + " socket"
	if len(s.Local) > 0 {
		text += " " + sockaddr(s.Local)
	}
	if len(s.Remote) > 0 {
		text += " to " + sockaddr(s.Remote)
	}
	if s.Kind == unix.SOCK_STREAM {
		text += ", " + inet.StateName(s.State)
	}
	if len(s.Waiting) > 0 {
		text += ", " + counted(len(s.Waiting), "connection") + " to be accepted"
	}
	if len(s.Queue) > 0 {
		text += ", " + counted(len(s.Queue), "datagram") + " in its queue"
	}
	if t := s.TCP; t != nil {
		text += fmt.Sprintf(", %d bytes to read, %d to send", len(t.RecvData), len(t.SendData))
		switch {
		case t.Reset:
			text += ", given up"
		case t.Outside:
			text += ", to the outside"
		case t.Peer == 0:
			text += ", other end closed"
		}
	}
	return text
}

// sockaddr renders a struct sockaddr_in or sockaddr_in6.
func sockaddr(b []byte) string {
	if len(b) < 8 {
		return "?"
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port).String()
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), port).String()
	}
	return "?"
}

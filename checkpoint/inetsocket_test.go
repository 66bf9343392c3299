package checkpoint

import (
	"encoding/binary"
	"testing"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// control makes one control message.
func control(level, kind int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(kind))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func TestDatagramInfo(t *testing.T) {
	var g specs.Datagram
	all := control(unix.IPPROTO_IP, unix.IP_TTL, []byte{64, 0, 0, 0})
	all = append(all, control(unix.IPPROTO_IP, unix.IP_TOS, []byte{8})...)
	all = append(all, control(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0, 127, 0, 0, 1, 127, 0, 0, 9})...)
	all = append(all, control(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{100, 0, 0, 0})...)
	segment, err := datagramInfo(&g, all)
	if err != nil || segment != 100 || g.TTL != 65 || g.TOS != 9 || string(g.To) != "\x7f\x00\x00\x09" {
		t.Errorf("%+v, segment %d, %v", g, segment, err)
	}
}

func FuzzDatagramInfo(f *testing.F) {
	f.Add(control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, 20)))
	f.Add(control(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var g specs.Datagram
		_, _ = datagramInfo(&g, b)
		if n := len(g.To); n != 0 && n != 4 && n != 16 {
			t.Errorf("an address of %d bytes", n)
		}
	})
}

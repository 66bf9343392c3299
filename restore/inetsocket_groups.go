package restore

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// joinGroup makes a socket a member of a multicast group, with the group's filter
// of sources (struct group_req and group_filter, ip(7)).
func joinGroup(fd int, m specs.Membership) error {
	i, err := net.InterfaceByName(m.Interface)
	if err != nil {
		return err
	}
	addr, ok := netip.AddrFromSlice(m.Group)
	if !ok {
		return unix.EINVAL
	}
	level, family := unix.IPPROTO_IP, int32(unix.AF_INET)
	if addr.Is6() {
		level, family = unix.IPPROTO_IPV6, unix.AF_INET6
	}
	const storage, head = 128, 8
	request := make([]byte, head+storage)
	binary.NativeEndian.PutUint32(request, uint32(i.Index))
	copy(request[head:], inet.Sockaddr(family, netip.AddrPortFrom(addr, 0)))
	if err := inet.Set(fd, level, unix.MCAST_JOIN_GROUP, request); err != nil {
		return err
	}
	const exclude = 0
	if m.Mode == exclude && len(m.Sources) == 0 {
		return nil
	}
	filter := binary.NativeEndian.AppendUint32(request, m.Mode)
	filter = binary.NativeEndian.AppendUint32(filter, uint32(len(m.Sources)))
	for _, s := range m.Sources {
		source, ok := netip.AddrFromSlice(s)
		if !ok {
			return unix.EINVAL
		}
		slot := make([]byte, storage)
		copy(slot, inet.Sockaddr(family, netip.AddrPortFrom(source, 0)))
		filter = append(filter, slot...)
	}
	return inet.Set(fd, level, unix.MCAST_MSFILTER, filter)
}

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// memberships finds the multicast groups of a socket. The kernel lists the
// groups of interfaces only; of each the socket is asked for its filter.
func (d *dump) memberships(s *inetSocket) ([]specs.Membership, error) {
	var list []specs.Membership
	err := d.inet.within(d, func() error {
		groups, err := inet.Groups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			m, err := membership(s.fd, g.Index, g.Addr)
			if err == unix.EADDRNOTAVAIL || err == unix.ENOPROTOOPT || err == unix.EOPNOTSUPP || err == unix.EINVAL {
				continue // no member, or of the other family
			}
			if err != nil {
				return fmt.Errorf("filter of group %v: %w", g.Addr, err)
			}
			m.Interface = g.Interface
			list = append(list, *m)
		}
		return nil
	})
	return list, err
}

// Layout of struct group_filter (ip(7)): index, padding, group, mode, number of
// sources, sources; each address fills a struct sockaddr_storage.
const (
	filterGroup   = 8
	filterMode    = filterGroup + 128
	filterCount   = filterMode + 4
	filterSources = filterCount + 4
	maxSources    = 512
)

// membership asks a socket for its filter of a group (MCAST_MSFILTER).
func membership(fd int, index uint32, group netip.Addr) (*specs.Membership, error) {
	b := make([]byte, filterSources+maxSources*128)
	level, family := unix.IPPROTO_IP, int32(unix.AF_INET)
	if group.Is6() {
		level, family = unix.IPPROTO_IPV6, unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b, index)
	copy(b[filterGroup:], inet.Sockaddr(family, netip.AddrPortFrom(group, 0)))
	binary.NativeEndian.PutUint32(b[filterCount:], maxSources)
	if _, err := inet.GetInto(fd, level, unix.MCAST_MSFILTER, b); err != nil {
		return nil, err
	}
	m := &specs.Membership{Group: group.AsSlice(), Mode: binary.NativeEndian.Uint32(b[filterMode:])}
	n := binary.NativeEndian.Uint32(b[filterCount:])
	if n > maxSources {
		return nil, fmt.Errorf("%d sources: %w", n, unix.E2BIG)
	}
	for i := range int(n) {
		m.Sources = append(m.Sources, inet.AddrPort(b[filterSources+i*128:filterSources+(i+1)*128]).Addr().AsSlice())
	}
	return m, nil
}

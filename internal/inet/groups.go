package inet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Group is a multicast group that an interface is a member of.
type Group struct {
	// Index and Interface name the interface.
	Index     uint32
	Interface string
	Addr      netip.Addr
}

// Groups lists the groups of all interfaces in the network namespace of the
// calling thread, IPv6's if the kernel has it.
func Groups() ([]Group, error) {
	b, err := os.ReadFile("/proc/thread-self/net/igmp")
	if err != nil {
		return nil, err
	}
	list := ParseIGMP(b)
	if b, err = os.ReadFile("/proc/thread-self/net/igmp6"); err == nil {
		list = append(list, ParseIGMP6(b)...)
	}
	return list, nil
}

// ParseIGMP reads /proc/net/igmp: a line for each interface, and indented below
// one for each group, whose address is the hexadecimal number that the kernel has in memory.
func ParseIGMP(b []byte) []Group {
	var list []Group
	var g Group
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if index, err := strconv.ParseUint(fields[0], 10, 32); err == nil && line[0] != '\t' && line[0] != ' ' {
			g = Group{Index: uint32(index), Interface: strings.TrimSuffix(fields[1], ":")}
			continue
		}
		addr, err := strconv.ParseUint(fields[0], 16, 32)
		if err != nil || g.Index == 0 || len(fields[0]) != 8 {
			continue
		}
		g.Addr = netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(addr))))
		list = append(list, g)
	}
	return list
}

// ParseIGMP6 reads /proc/net/igmp6: one line for each group, with index, interface
// and address first.
func ParseIGMP6(b []byte) []Group {
	var list []Group
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		index, err := strconv.ParseUint(fields[0], 10, 32)
		addr, hexErr := hex.DecodeString(fields[2])
		if err != nil || hexErr != nil || len(addr) != 16 {
			continue
		}
		list = append(list, Group{Index: uint32(index), Interface: fields[1], Addr: netip.AddrFrom16([16]byte(addr))})
	}
	return list
}

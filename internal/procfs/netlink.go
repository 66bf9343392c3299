package procfs

import (
	"bytes"
	"errors"
	"strconv"
)

// Netlink is a line of /proc/net/netlink: one netlink(7) socket of a network namespace
// (net/netlink/af_netlink.c, netlink_native_seq_show).
type Netlink struct {
	Protocol int
	Port     uint32
	// Rmem is the bytes that wait to be read, as the kernel accounts for them.
	Rmem int64
	// Dump tells that the socket has asked for a listing and has not had all of it.
	Dump  bool
	Inode uint64
}

// ParseNetlink reads /proc/PID/net/netlink.
func ParseNetlink(b []byte) ([]Netlink, error) {
	const file = "net/netlink"
	var list []Netlink
	number := 0
	for line := range bytes.Lines(b) {
		if number++; number == 1 { // the names of the columns
			continue
		}
		fields := bytes.Fields(line)
		if len(fields) < 10 {
			return nil, badLine(file, number, line, "fewer than 10 fields")
		}
		protocol, err1 := strconv.ParseInt(string(fields[1]), 10, 32)
		// The kernel prints the port as a signed number.
		port, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
		rmem, err3 := strconv.ParseInt(string(fields[4]), 10, 64)
		inode, err4 := strconv.ParseUint(string(fields[9]), 10, 64)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return nil, badLine(file, number, line, "a field is not a number")
		}
		list = append(list, Netlink{
			Protocol: int(protocol), Port: uint32(port), Rmem: rmem, Inode: inode, Dump: string(fields[6]) != "0",
		})
	}
	return list, nil
}

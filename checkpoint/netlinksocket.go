package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// netlinkProtocol is what the kernel keeps for sockets of a protocol beyond what can be read
// of them.
type netlinkProtocol struct {
	number int
	// hostState tells that it keeps something for processes of the host's first pid
	// namespace alone: the role of the audit daemon (kernel/audit.c, audit_netlink_ok).
	hostState bool
}

// netlinkProtocols are those without any. For others the kernel keeps what they have asked
// for, such as a queue of packets, under their address, and shows it nowhere.
var netlinkProtocols = []netlinkProtocol{
	{unix.NETLINK_ROUTE, false},
	{unix.NETLINK_SOCK_DIAG, false},
	{unix.NETLINK_XFRM, false},
	{unix.NETLINK_KOBJECT_UEVENT, false},
	{unix.NETLINK_GENERIC, false},
	{unix.NETLINK_AUDIT, true},
}

// netlinkOptions are the options of level SOL_NETLINK that can be read back (netlink(7),
// include/uapi/linux/netlink.h).
var netlinkOptions = []int{
	unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_LISTEN_ALL_NSID,
	unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK,
}

// netlinkSocketKind saves netlink sockets that wait for nothing.
func netlinkSocketKind() fileKind {
	return fileKind{
		name: "netlink socket",
		is: func(f *openFile) bool {
			family, err := socketFamily(f)
			return err == nil && family == unix.AF_NETLINK
		},
		refuse: refuseNetlink,
		save:   saveNetlink,
	}
}

// refuseNetlink tells what of a netlink socket cannot be saved.
func refuseNetlink(d *dump, f *openFile) error {
	own, err := f.dup()
	if err != nil {
		return err
	}
	fd := int(own.Fd())
	protocol, err := inet.Int(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(netlinkProtocols, func(p netlinkProtocol) bool {
		return p.number == protocol && !(p.hostState && d.target.Host)
	}) {
		return f.unsupported(fmt.Sprintf("is a netlink socket of protocol %d, for which the kernel keeps what it does not show", protocol),
			"close it before the checkpoint")
	}
	home, err := d.inet.home(d)
	if err != nil {
		return err
	}
	if ns, err := inet.NetNS(fd); err != nil || ns != home {
		return f.unsupported("is of another network namespace than the container's", "close it before the checkpoint")
	}
	if _, err := socketFilter(fd); errors.Is(err, errFilter) {
		return f.unsupported("has an eBPF filter", "detach it before the checkpoint")
	}
	info, err := d.netlink(f)
	switch {
	case err != nil:
		return err
	case info.Dump:
		return f.unsupported("is in the middle of a listing that it has asked for", "try again in a moment")
	case info.Rmem > 0:
		return f.unsupported("has messages that its program has not read yet", "try again in a moment")
	}
	if poll, err := inet.Poll(fd); err != nil || poll&unix.POLLERR != 0 {
		return f.unsupported("has lost messages, and its program has not been told yet", "try again in a moment")
	}
	return nil
}

// netlink finds what /proc/net/netlink shows of a socket: nothing of one that was never
// bound, which can have received nothing.
func (d *dump) netlink(f *openFile) (procfs.Netlink, error) {
	list, err := procfs.ReadNetlink(d.target.Init)
	if err != nil {
		return procfs.Netlink{}, err
	}
	for _, n := range list {
		if n.Inode == f.stat.Ino {
			return n, nil
		}
	}
	return procfs.Netlink{}, nil
}

func saveNetlink(d *dump, f *openFile, base specs.Description) (specs.File, error) {
	// The tasks stand still: what the preflight saw may have changed before that.
	if err := refuseNetlink(d, f); err != nil {
		return nil, err
	}
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	fd := int(own.Fd())
	r := &specs.NetlinkSocket{Description: base, UID: f.stat.Uid, GID: f.stat.Gid}
	for name, to := range map[int]*int32{unix.SO_TYPE: &r.Kind, unix.SO_PROTOCOL: &r.Protocol} {
		value, err := inet.Int(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return nil, err
		}
		*to = int32(value)
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return nil, fmt.Errorf("getpeername: %w", err)
	}
	if a, ok := local.(*unix.SockaddrNetlink); ok {
		r.Port = a.Pid
	}
	if a, ok := peer.(*unix.SockaddrNetlink); ok {
		r.PeerPort, r.PeerGroup = a.Pid, a.Groups
	}
	if r.Groups, err = netlinkGroups(fd); err != nil {
		return nil, err
	}
	if r.Options, err = socketOptions(fd); err != nil {
		return nil, err
	}
	for _, name := range netlinkOptions {
		value, err := getOption(fd, unix.SOL_NETLINK, name, 4)
		if errors.Is(err, unix.ENOPROTOOPT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("option %d: %w", name, err)
		}
		r.Options = append(r.Options, specs.SocketOption{Level: unix.SOL_NETLINK, Name: int32(name), Value: value})
	}
	return r, nil
}

// netlinkGroups lists the memberships. The kernel fills in whole words of 32 groups as far as
// there is room.
func netlinkGroups(fd int) ([]uint32, error) {
	const most = 1 << 10
	words, err := getOption(fd, unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS, most*4)
	if err != nil {
		return nil, fmt.Errorf("list memberships: %w", err)
	}
	var groups []uint32
	for i := 0; i+4 <= len(words); i += 4 {
		for bit := range uint32(32) {
			if binary.NativeEndian.Uint32(words[i:])&(1<<bit) != 0 {
				groups = append(groups, uint32(i)*8+bit+1)
			}
		}
	}
	return groups, nil
}

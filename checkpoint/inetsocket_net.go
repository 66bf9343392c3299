package checkpoint

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inetSockets is what is known of the tree's network namespace and of its
// sockets. It is found out when first asked for.
type inetSockets struct {
	// space runs functions inside the namespace; number is that of inet.NetNS.
	space  *ns.Thread
	number uint64
	// fresh are the options of new sockets, by family, type and protocol.
	fresh map[[3]int]inet.Values
	// listed are all TCP sockets of the namespace.
	listed map[pair]inet.Sock
	// signed are the inodes of those with MD5 keys.
	signed map[uint64]bool
	// tree are the connections of the tree, out of the first seen of all files.
	tree map[pair]*openFile
	seen int
	// looked are sockets that have been looked at.
	looked map[*openFile]*inetSocket
	// addresses are those of the namespace's interfaces.
	addresses []netip.Addr
	// exact are connections whose sequence numbers are needed.
	exact map[pair]bool
	// captures are those of connections with bytes under way.
	captures map[pair]*capture
	// queues are the connections that wait at listening sockets.
	queues map[*openFile][]inet.Pending
	// live are the connections to the outside that were saved, lock keeps what they
	// would get from there away.
	live []*inetSocket
	lock *inet.Lock
	// forget tell the watchdog that they are not in repair mode, or are no more.
	forget []func() error
	// kept is the name under which the lock stays.
	kept string
}

func (n *inetSockets) close() {
	if n.lock != nil {
		n.lock.Close()
	}
	if n.space != nil {
		n.space.Close()
	}
}

// within runs f in the tree's network namespace.
func (n *inetSockets) within(d *dump, f func() error) error {
	if n.space == nil {
		var err error
		if n.space, err = ns.Start(d.target.Init, ns.Net); err != nil {
			return err
		}
	}
	return n.space.Do(f)
}

// home gives the number of the tree's network namespace.
func (n *inetSockets) home(d *dump) (uint64, error) {
	if n.number != 0 {
		return n.number, nil
	}
	err := n.within(d, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		n.number, err = inet.NetNS(fd)
		return err
	})
	return n.number, err
}

// list lists the namespace's TCP sockets and addresses, once unless it is wanted
// again.
func (n *inetSockets) list(d *dump, again bool) error {
	if n.listed != nil && !again {
		return nil
	}
	n.listed, n.signed, n.addresses = map[pair]inet.Sock{}, map[uint64]bool{}, nil
	return n.within(d, func() error {
		socks, err := inet.List(unix.IPPROTO_TCP)
		if err != nil {
			return err
		}
		for _, s := range socks {
			n.listed[pair{s.Local, s.Remote}] = s
			if s.MD5 {
				n.signed[uint64(s.Inode)] = true
			}
		}
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				n.addresses = append(n.addresses, prefix.Addr().Unmap().WithZone(""))
			}
		}
		return nil
	})
}

// local tells whether an address belongs to the namespace itself.
func (n *inetSockets) local(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || slices.Contains(n.addresses, a)
}

// options are those that a socket has and a new one of its type has not.
func (n *inetSockets) options(s *inetSocket) ([]specs.SocketOption, error) {
	kind := [3]int{s.family, s.kind, s.protocol}
	fresh, known := n.fresh[kind]
	if !known {
		err := n.space.Do(func() error {
			fd, err := unix.Socket(s.family, s.kind|unix.SOCK_CLOEXEC, s.protocol)
			if errors.Is(err, unix.EACCES) {
				return nil // a ping socket for another group: all options are kept
			}
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			fresh, err = inet.Read(fd)
			return err
		})
		if err != nil {
			return nil, err
		}
		if n.fresh == nil {
			n.fresh = map[[3]int]inet.Values{}
		}
		n.fresh[kind] = fresh
	}
	now, err := inet.Read(s.fd)
	if err != nil {
		return nil, err
	}
	var list []specs.SocketOption
	inet.Changed(now, fresh, s.remote != nil || s.over(), func(o *inet.Option, value []byte) {
		list = append(list, specs.SocketOption{Level: int32(o.Level), Name: int32(o.Name), Value: value})
	})
	return list, nil
}

// scope names the interface that the addresses of a socket mean by a number.
func (n *inetSockets) scope(s *inetSocket) (string, error) {
	index := inet.Scope(s.local)
	if index == 0 {
		index = inet.Scope(s.remote)
	}
	if index == 0 {
		return "", nil
	}
	var name string
	err := n.space.Do(func() error {
		i, err := net.InterfaceByIndex(int(index))
		if err == nil {
			name = i.Name
		}
		return err
	})
	return name, err
}

package checkpoint

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// inetSocket is what can be seen of a socket without changing it.
type inetSocket struct {
	f  *openFile
	fd int
	// family, kind and protocol are those of socket(2).
	family, kind, protocol int
	// local and remote are raw addresses; remote is nil if not connected.
	local, remote []byte
	// state is that of TCP; of others Established or Close.
	state int32
	info  inet.Info
	poll  int16
	// in, out and unsent are those of inet.Queued, for connections.
	in, out, unsent int
}

// pair are the two ends of a connection, as one of them sees it.
type pair struct{ local, remote netip.AddrPort }

// mirror is how the other end sees it.
func (p pair) mirror() pair { return pair{p.remote, p.local} }

func (s *inetSocket) pair() pair { return pair{inet.AddrPort(s.local), inet.AddrPort(s.remote)} }

// inetType is how one type of socket is saved.
type inetType struct {
	name   string
	is     func(s *inetSocket) bool
	refuse func(d *dump, s *inetSocket) error
	save   func(d *dump, s *inetSocket, r *specs.InetSocket) error
	// complete, if not nil, goes on when all sockets are known.
	complete func(d *dump, s *inetSocket, r *specs.InetSocket) error
}

func inetTypes() []inetType {
	return []inetType{
		{"multipath TCP", func(s *inetSocket) bool { return s.protocol == unix.IPPROTO_MPTCP }, refuseMPTCP, saveTCP, completeTCP},
		{"TCP", func(s *inetSocket) bool { return s.kind == unix.SOCK_STREAM && s.protocol == unix.IPPROTO_TCP }, refuseTCP, saveTCP, completeTCP},
		{"UDP", func(s *inetSocket) bool {
			return s.kind == unix.SOCK_DGRAM && (s.protocol == unix.IPPROTO_UDP || s.protocol == unix.IPPROTO_UDPLITE)
		}, refuseUDP, saveUDP, nil},
		{"raw", func(s *inetSocket) bool { return s.kind == unix.SOCK_RAW }, refuseRaw, saveRaw, nil},
		{"ping", func(s *inetSocket) bool {
			return s.kind == unix.SOCK_DGRAM && (s.protocol == unix.IPPROTO_ICMP || s.protocol == unix.IPPROTO_ICMPV6)
		}, refuseRaw, saveRaw, nil},
	}
}

func inetTypeOf(s *inetSocket) *inetType {
	for _, t := range inetTypes() {
		if t.is(s) {
			return &t
		}
	}
	return nil
}

func inetSocketKind() fileKind {
	return fileKind{
		name: "internet socket",
		is: func(f *openFile) bool {
			family, err := socketFamily(f)
			return err == nil && (family == unix.AF_INET || family == unix.AF_INET6)
		},
		refuse: refuseInet,
		save:   saveInet,
		complete: func(d *dump, f *openFile) error {
			s, err := d.lookInet(f)
			if err != nil {
				return &Error{"look at " + f.name(), f.proc.nspid, err}
			}
			if t := inetTypeOf(s); t != nil && t.complete != nil {
				return t.complete(d, s, f.record.(*specs.InetSocket))
			}
			return nil
		},
	}
}

// socketFamily asks for the family of a socket, once: whoever decides by it what the socket is has the same answer.
func socketFamily(f *openFile) (int, error) {
	if f.stat.Mode&unix.S_IFMT != unix.S_IFSOCK || !strings.HasPrefix(f.link, "socket:[") {
		return 0, unix.ENOTSOCK
	}
	if f.domain == 0 && f.domainErr == nil {
		own, err := f.dup()
		if err == nil {
			f.domain, err = inet.Int(int(own.Fd()), unix.SOL_SOCKET, unix.SO_DOMAIN)
		}
		f.domainErr = err
	}
	return f.domain, f.domainErr
}

// lookInet looks at a socket; while everything stands still once.
func (d *dump) lookInet(f *openFile) (*inetSocket, error) {
	if s := d.inet.looked[f]; s != nil {
		return s, nil
	}
	s, err := f.lookInet()
	if err == nil && d.out != nil {
		if d.inet.looked == nil {
			d.inet.looked = map[*openFile]*inetSocket{}
		}
		d.inet.looked[f] = s
	}
	return s, err
}

func (f *openFile) lookInet() (*inetSocket, error) {
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	s := &inetSocket{f: f, fd: int(own.Fd()), state: inet.Close}
	for _, o := range []struct {
		to   *int
		name int
	}{{&s.family, unix.SO_DOMAIN}, {&s.kind, unix.SO_TYPE}, {&s.protocol, unix.SO_PROTOCOL}} {
		if *o.to, err = inet.Int(s.fd, unix.SOL_SOCKET, o.name); err != nil {
			return nil, err
		}
	}
	if s.local, err = inet.Name(s.fd); err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	if s.remote, err = inet.Peer(s.fd); err != nil {
		return nil, fmt.Errorf("getpeername: %w", err)
	}
	if s.poll, err = inet.Poll(s.fd); err != nil {
		return nil, err
	}
	if s.kind != unix.SOCK_STREAM {
		if s.remote != nil {
			s.state = inet.Established
		}
		return s, nil
	}
	if s.info, err = inet.ReadInfo(s.fd); err != nil {
		return nil, err
	}
	s.state = int32(s.info.State)
	if s.state == inet.Listen {
		return s, nil
	}
	s.in, s.out, s.unsent, err = inet.Queued(s.fd)
	return s, err
}

// refuseInet tells what of a socket cannot be saved.
func refuseInet(d *dump, f *openFile) error {
	s, err := d.lookInet(f)
	if err != nil {
		return &Error{"look at " + f.name(), f.proc.nspid, err}
	}
	t := inetTypeOf(s)
	if t == nil {
		return f.unsupported(fmt.Sprintf("is an internet socket of type %d and protocol %d", s.kind, s.protocol), "close it before the checkpoint")
	}
	home, err := d.inet.home(d)
	if err != nil {
		return err
	}
	if ns, err := inet.NetNS(s.fd); err != nil {
		return err
	} else if ns != home {
		return f.unsupported("is of another network namespace than the container's", "close it before the checkpoint")
	}
	if s.poll&unix.POLLERR != 0 {
		return f.unsupported("has an error or an error queue that its program has not read yet", "try again in a moment")
	}
	if _, err := inet.Filter(s.fd); err == unix.EACCES {
		return f.unsupported("has an eBPF filter", "detach it before the checkpoint")
	}
	if d.out == nil {
		if err := d.refuseChooser(s); err != nil {
			return err
		}
	}
	return t.refuse(d, s)
}

// refuseChooser looks for a program that chooses among the sockets of a shared
// port (SO_ATTACH_REUSEPORT_CBPF, _EBPF), which no system call shows.
func (d *dump) refuseChooser(s *inetSocket) error {
	if shared, err := inet.Int(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || shared == 0 {
		return err
	}
	k, err := d.kernelMemory()
	if err != nil {
		return nil // it cannot be told
	}
	if has, err := inet.HasChooser(k, s.fd); err == nil && has {
		return s.f.unsupported("has a BPF program that chooses among the sockets of its port", "detach it before the checkpoint")
	}
	return nil
}

// saveInet makes the record of a socket.
func saveInet(d *dump, f *openFile, base specs.Description) (specs.File, error) {
	s, err := d.lookInet(f)
	if err != nil {
		return nil, err
	}
	r := &specs.InetSocket{
		Description: base, Inode: f.stat.Ino, Family: int32(s.family), Kind: int32(s.kind), Protocol: int32(s.protocol),
		State: s.state, Remote: s.remote, UID: f.stat.Uid, GID: f.stat.Gid, Detached: f.flight,
	}
	if local := inet.AddrPort(s.local); local.Port() != 0 && s.kind != unix.SOCK_RAW || !local.Addr().IsUnspecified() {
		r.Local = s.local
	}
	if r.Interface, err = d.inet.scope(s); err != nil {
		return nil, err
	}
	if r.Filter, err = inet.Filter(s.fd); err != nil {
		return nil, fmt.Errorf("read filter: %w", err)
	}
	if r.Options, err = d.inet.options(s); err != nil {
		return nil, err
	}
	return r, inetTypeOf(s).save(d, s, r)
}

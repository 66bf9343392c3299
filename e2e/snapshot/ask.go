package snapshot

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askFile asks the kernel about a descriptor of our own that leads to the same
// description. Nothing here changes anything.
func (l *look) askFile(facts Facts, fd int, mode uint32) {
	if owner, err := ownerOf(fd); err == nil && owner.pid != 0 {
		l.put(facts, "file", "owner task", fmt.Sprintf("%d %s", owner.kind, l.pid(strconv.Itoa(int(owner.pid)))))
	}
	for _, ask := range []struct {
		name string
		cmd  int
	}{{"signal", unix.F_GETSIG}, {"seals", unix.F_GET_SEALS}, {"pipe size", unix.F_GETPIPE_SZ}} {
		if value, err := unix.FcntlInt(uintptr(fd), ask.cmd, 0); err == nil {
			l.put(facts, "file", ask.name, strconv.Itoa(value))
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		l.queued(facts, fd, "readable", unix.TIOCINQ)
	case unix.S_IFSOCK:
		l.queued(facts, fd, "readable", unix.TIOCINQ)
		l.socket(facts, fd)
	case unix.S_IFCHR:
		l.terminal(facts, fd)
	}
}

func (l *look) queued(facts Facts, fd int, name string, request uint) {
	if value, err := unix.IoctlGetInt(fd, request); err == nil {
		l.put(facts, "file", name, strconv.Itoa(value))
	}
}

type fileOwner struct{ kind, pid int32 } // struct f_owner_ex of fcntl(2)

func ownerOf(fd int) (fileOwner, error) {
	var owner fileOwner
	const getOwnerEx = 16 // F_GETOWN_EX
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), getOwnerEx, uintptr(unsafe.Pointer(&owner)))
	if errno != 0 {
		return owner, errno
	}
	return owner, nil
}

func (l *look) terminal(facts Facts, fd int) {
	if termios, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err == nil {
		l.put(facts, "file", "termios", fmt.Sprintf("%+v", *termios))
		l.queued(facts, fd, "readable", unix.TIOCINQ)
	}
	if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
		l.put(facts, "file", "window", fmt.Sprintf("%+v", *size))
	}
	for _, ask := range []struct {
		name    string
		request uint
	}{
		{"terminal number", unix.TIOCGPTN}, {"terminal device", unix.TIOCGDEV}, {"locked", unix.TIOCGPTLCK},
		{"packet mode", unix.TIOCGPKT}, {"exclusive", unix.TIOCGEXCL}, {"line discipline", unix.TIOCGETD},
	} {
		l.queued(facts, fd, ask.name, ask.request)
	}
}

// socketOptions are those that a program can set and read back.
var socketOptions = []struct {
	name          string
	level, option int
}{
	{"type", unix.SOL_SOCKET, unix.SO_TYPE}, {"domain", unix.SOL_SOCKET, unix.SO_DOMAIN},
	{"protocol", unix.SOL_SOCKET, unix.SO_PROTOCOL}, {"listens", unix.SOL_SOCKET, unix.SO_ACCEPTCONN},
	{"reuseaddr", unix.SOL_SOCKET, unix.SO_REUSEADDR}, {"reuseport", unix.SOL_SOCKET, unix.SO_REUSEPORT},
	{"keepalive", unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {"broadcast", unix.SOL_SOCKET, unix.SO_BROADCAST},
	{"oobinline", unix.SOL_SOCKET, unix.SO_OOBINLINE}, {"linger", unix.SOL_SOCKET, unix.SO_LINGER},
	{"rcvbuf", unix.SOL_SOCKET, unix.SO_RCVBUF}, {"sndbuf", unix.SOL_SOCKET, unix.SO_SNDBUF},
	{"rcvlowat", unix.SOL_SOCKET, unix.SO_RCVLOWAT}, {"rcvtimeo", unix.SOL_SOCKET, unix.SO_RCVTIMEO_NEW},
	{"sndtimeo", unix.SOL_SOCKET, unix.SO_SNDTIMEO_NEW}, {"passcred", unix.SOL_SOCKET, unix.SO_PASSCRED},
	{"priority", unix.SOL_SOCKET, unix.SO_PRIORITY}, {"mark", unix.SOL_SOCKET, unix.SO_MARK},
	{"timestamp", unix.SOL_SOCKET, unix.SO_TIMESTAMP}, {"timestampns", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
	{"no_check", unix.SOL_SOCKET, unix.SO_NO_CHECK}, {"dontroute", unix.SOL_SOCKET, unix.SO_DONTROUTE},
	{"bindtodevice", unix.SOL_SOCKET, unix.SO_BINDTODEVICE}, {"peek_off", unix.SOL_SOCKET, unix.SO_PEEK_OFF},
	{"tos", unix.IPPROTO_IP, unix.IP_TOS}, {"ttl", unix.IPPROTO_IP, unix.IP_TTL},
	{"mtu_discover", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}, {"freebind", unix.IPPROTO_IP, unix.IP_FREEBIND},
	{"pktinfo", unix.IPPROTO_IP, unix.IP_PKTINFO}, {"recverr", unix.IPPROTO_IP, unix.IP_RECVERR},
	{"v6only", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, {"hops", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS},
	{"nodelay", unix.IPPROTO_TCP, unix.TCP_NODELAY}, {"cork", unix.IPPROTO_TCP, unix.TCP_CORK},
	{"keepidle", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {"keepintvl", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{"keepcnt", unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {"user_timeout", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	{"defer_accept", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT}, {"congestion", unix.IPPROTO_TCP, unix.TCP_CONGESTION},
	{"netlink groups", unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS}, {"netlink pktinfo", unix.SOL_NETLINK, unix.NETLINK_PKTINFO},
	{"netlink ext_ack", unix.SOL_NETLINK, unix.NETLINK_EXT_ACK}, {"netlink no_enobufs", unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS},
	{"netlink strict", unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK}, {"netlink cap_ack", unix.SOL_NETLINK, unix.NETLINK_CAP_ACK},
	{"fastopen", unix.IPPROTO_TCP, unix.TCP_FASTOPEN}, {"syncnt", unix.IPPROTO_TCP, unix.TCP_SYNCNT},
}

// socket takes the options and both names of a socket.
func (l *look) socket(facts Facts, fd int) {
	for _, o := range socketOptions {
		value := make([]byte, 64)
		if n, err := getsockopt(fd, o.level, o.option, value); err == nil {
			if o.option == unix.SO_RCVBUF && o.level == unix.SOL_SOCKET && n == 4 {
				// What TCP tunes by itself may be odd; what can be set is even.
				binary.NativeEndian.PutUint32(value, (binary.NativeEndian.Uint32(value)+1)&^1)
			}
			l.put(facts, "file", "so "+o.name, hex.EncodeToString(value[:n]))
		}
	}
	info := make([]byte, 1) // the first byte of struct tcp_info is the state
	if n, err := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info); err == nil && n == 1 {
		l.put(facts, "file", "tcp state", strconv.Itoa(int(info[0])))
	}
	peer := make([]byte, 12) // struct ucred
	if n, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_PEERCRED, peer); err == nil && n == 12 {
		pid := strconv.Itoa(int(int32(binary.NativeEndian.Uint32(peer))))
		l.put(facts, "file", "peer", l.pid(pid)+" "+hex.EncodeToString(peer[4:]))
	}
	l.put(facts, "file", "name", sockname(fd, unix.SYS_GETSOCKNAME))
	l.put(facts, "file", "peer name", sockname(fd, unix.SYS_GETPEERNAME))
}

func getsockopt(fd, level, option int, value []byte) (int, error) {
	size := uint32(len(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(size), nil
}

// sockname returns the bytes of an address: every family has one.
func sockname(fd int, call uintptr) string {
	address := make([]byte, 128)
	size := uint32(len(address))
	_, _, errno := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&address[0])), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return errno.Error()
	}
	return fmt.Sprintf("%q", address[:min(int(size), len(address))])
}

package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// sockDiag sends one SOCK_DIAG_BY_FAMILY dump request and reads the first answer. The
// masks of states in the requests are empty, so that no socket is dumped.
func sockDiag(payload []byte) error {
	const byFamily = 20
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return missing(wrap("socket(NETLINK_SOCK_DIAG)", err), unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT)
	}
	defer unix.Close(fd)
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(payload))
	binary.NativeEndian.PutUint32(message[0:], uint32(cap(message)))
	binary.NativeEndian.PutUint16(message[4:], byFamily)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	message = append(message, payload...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return wrap("sock_diag", err)
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return wrap("sock_diag", err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("sock_diag: an answer of %d bytes", n)
	}
	if binary.NativeEndian.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])))
		if errno != 0 {
			return missing(fmt.Errorf("sock_diag: %w", errno), unix.ENOENT, unix.EINVAL)
		}
	}
	return nil
}

// tryUnixDiag dumps no unix sockets (struct unix_diag_req).
func tryUnixDiag() error {
	request := make([]byte, 24)
	request[0] = unix.AF_UNIX
	return sockDiag(request)
}

// tryInetDiag dumps no TCP sockets (struct inet_diag_req_v2).
func tryInetDiag() error {
	request := make([]byte, 56)
	request[0], request[1] = unix.AF_INET, unix.IPPROTO_TCP
	return sockDiag(request)
}

// tryTCPRepair puts a socket into repair mode, which shows its sequence numbers
// (TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ), and leaves it again.
func tryTCPRepair() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wrap("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		return missing(wrap("TCP_REPAIR", err), unix.ENOPROTOOPT)
	}
	const sendQueue = 2
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, sendQueue); err != nil {
		return missing(wrap("TCP_REPAIR_QUEUE", err), unix.ENOPROTOOPT)
	}
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
	return missing(wrap("TCP_QUEUE_SEQ", err), unix.ENOPROTOOPT)
}

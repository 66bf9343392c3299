package inet

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Get is getsockopt(2) of an option of at most size bytes.
func Get(fd, level, name, size int) ([]byte, error) {
	b := make([]byte, size)
	n, err := GetInto(fd, level, name, b)
	if err != nil {
		return nil, err
	}
	return b[:min(n, size)], nil
}

// GetInto is getsockopt(2) with a buffer that also has the question; it gives the
// length of the answer.
func GetInto(fd, level, name int, b []byte) (int, error) {
	n := uint32(len(b))
	var p unsafe.Pointer
	if len(b) > 0 {
		p = unsafe.Pointer(&b[0])
	}
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(p), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Set is setsockopt(2).
func Set(fd, level, name int, value []byte) error {
	var p unsafe.Pointer
	if len(value) > 0 {
		p = unsafe.Pointer(&value[0])
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(p), uintptr(len(value)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Int asks for an option that is a number.
func Int(fd, level, name int) (int, error) { return unix.GetsockoptInt(fd, level, name) }

// SetInt sets an option that is a number.
func SetInt(fd, level, name, value int) error {
	return unix.SetsockoptInt(fd, level, name, value)
}

// Filter reads the classic packet filter of a socket (SO_GET_FILTER), nil if it
// has none. EACCES means that it has one that cannot be read: eBPF.
func Filter(fd int) ([]byte, error) {
	count, err := GetInto(fd, unix.SOL_SOCKET, unix.SO_GET_FILTER, nil)
	if err != nil || count == 0 {
		return nil, err
	}
	program := make([]byte, 8*count)
	// This one option counts instructions, not bytes (sk_get_filter).
	n := uint32(count)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER,
		uintptr(unsafe.Pointer(&program[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return nil, errno
	}
	return program[:min(8*int(n), len(program))], nil
}

// SetFilter attaches a classic packet filter.
func SetFilter(fd int, program []byte) error {
	if len(program) < 8 {
		return unix.EINVAL
	}
	prog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
}

// NetNS gives a number that tells the network namespaces of sockets apart
// (SO_NETNS_COOKIE, since Linux 5.14).
func NetNS(fd int) (uint64, error) {
	b, err := Get(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE, 8)
	if err != nil {
		return 0, fmt.Errorf("SO_NETNS_COOKIE: %w", err)
	}
	if len(b) != 8 {
		return 0, unix.EINVAL
	}
	return binary.NativeEndian.Uint64(b), nil
}

// Poll tells what poll(2) tells of a socket, at once.
func Poll(fd int) (int16, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLPRI | unix.POLLOUT | unix.POLLRDHUP}}
	for {
		_, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return fds[0].Revents, err
		}
	}
}

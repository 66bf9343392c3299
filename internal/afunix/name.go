package afunix

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/internal/kernel"
	"golang.org/x/sys/unix"
)

const (
	familySize = 2
	// maxPath is the size of sun_path; a path may fill it, and then has no NUL.
	maxPath = 108
)

// Abstract tells whether a name is one of the abstract namespace.
func Abstract(name []byte) bool { return len(name) > 0 && name[0] == 0 }

// Encode makes struct sockaddr_un of a name.
func Encode(name []byte) ([]byte, error) {
	if len(name) > maxPath {
		return nil, fmt.Errorf("socket name of %d bytes: %w", len(name), unix.ENAMETOOLONG)
	}
	b := make([]byte, familySize, familySize+maxPath+1)
	binary.NativeEndian.PutUint16(b, unix.AF_UNIX)
	b = append(b, name...)
	if len(name) > 0 && !Abstract(name) && len(name) < maxPath {
		b = append(b, 0)
	}
	return b, nil
}

// Decode gives the name in a struct sockaddr_un.
func Decode(b []byte) []byte {
	if len(b) <= familySize {
		return nil
	}
	name := b[familySize:]
	if name[0] != 0 {
		name, _, _ = bytes.Cut(name, []byte{0})
	}
	return bytes.Clone(name)
}

// String shows a name as ss(8) does: with "@" for each NUL.
func String(name []byte) string { return string(bytes.ReplaceAll(name, []byte{0}, []byte{'@'})) }

// Bind is bind(2).
func Bind(fd int, name []byte) error { return withName(unix.SYS_BIND, "bind", fd, name) }

// Connect is connect(2); no name dissolves a datagram socket's connection.
func Connect(fd int, name []byte) error {
	if name == nil {
		none := [2]byte{unix.AF_UNSPEC}
		_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), 2)
		return wrap("connect", errno)
	}
	return withName(unix.SYS_CONNECT, "connect", fd, name)
}

func withName(nr uintptr, op string, fd int, name []byte) error {
	b, err := Encode(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return wrap(op, errno)
}

func wrap(op string, errno unix.Errno) error {
	if errno != 0 {
		return os.NewSyscallError(op, errno)
	}
	return nil
}

// Name is getsockname(2), PeerName getpeername(2).
func Name(fd int) ([]byte, error) { return name(unix.SYS_GETSOCKNAME, "getsockname", fd) }

// PeerName is getpeername(2).
func PeerName(fd int) ([]byte, error) { return name(unix.SYS_GETPEERNAME, "getpeername", fd) }

func name(nr uintptr, op string, fd int) ([]byte, error) {
	var b [256]byte
	size := uint32(len(b))
	_, _, errno := unix.Syscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return nil, os.NewSyscallError(op, errno)
	}
	return Decode(b[:min(int(size), len(b))]), nil
}

// Accept takes the next connection, without waiting for one to come.
func Accept(fd int) (int, error) {
	if err := ready(fd); err != nil {
		return -1, err
	}
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	return int(n), wrap("accept", errno)
}

// ready fails if nothing is to be read.
func ready(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	if err == nil && n == 0 {
		err = unix.EAGAIN
	}
	return os.NewSyscallError("accept", err)
}

// File is the file that a socket is bound to, as an O_PATH descriptor
// (SIOCUNIXFILE, which needs CAP_NET_ADMIN). ENOENT tells that there is none.
func File(fd int) (*os.File, error) {
	const siocUnixFile = 0x89e0
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocUnixFile, 0)
	if errno != 0 {
		err := os.NewSyscallError("ioctl(SIOCUNIXFILE)", errno)
		return nil, kernel.NeedFor(err, "the file of a socket can be asked for", unix.CAP_NET_ADMIN)
	}
	return os.NewFile(n, "socket file"), nil
}

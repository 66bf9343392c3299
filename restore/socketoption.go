package restore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// setSocketOptions sets the options that differ. Sizes of buffers are set past
// the limits of the system (SO_SNDBUFFORCE, SO_RCVBUFFORCE), and as half of what is
// read: the kernel doubles them.
func setSocketOptions(fd int, options []specs.SocketOption) error {
	for _, o := range options {
		if err := setSocketOption(fd, o); err != nil {
			return fmt.Errorf("set option %d/%d: %w", o.Level, o.Name, err)
		}
	}
	return nil
}

func setSocketOption(fd int, o specs.SocketOption) error {
	if len(o.Value) == 0 {
		return nil
	}
	if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_ATTACH_FILTER {
		return attachFilter(fd, o.Value)
	}
	now := make([]byte, len(o.Value))
	n := uint32(len(now))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(o.Level), uintptr(o.Name),
		uintptr(unsafe.Pointer(&now[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno == 0 && bytes.Equal(now[:n], o.Value) {
		return nil
	}
	if force, ok := forced[o.Name]; ok && o.Level == unix.SOL_SOCKET && len(o.Value) == 4 {
		half := int(binary.NativeEndian.Uint32(o.Value)) / 2
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, half))
	}
	return setOption(fd, int(o.Level), int(o.Name), o.Value)
}

// forced are the privileged variants of the options for buffers.
var forced = map[int32]int{unix.SO_SNDBUF: unix.SO_SNDBUFFORCE, unix.SO_RCVBUF: unix.SO_RCVBUFFORCE}

// setOption is setsockopt(2).
func setOption(fd, level, name int, value []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0)
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}

// attachFilter attaches a classic BPF program of struct sock_filter, 8 bytes each.
func attachFilter(fd int, code []byte) error {
	program := make([]unix.SockFilter, len(code)/8)
	if len(program) == 0 {
		return nil
	}
	for i := range program {
		b := code[i*8:]
		program[i] = unix.SockFilter{
			Code: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:]),
		}
	}
	return os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
}

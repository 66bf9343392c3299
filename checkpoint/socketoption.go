package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// socketOption is an option of level SOL_SOCKET that can be both read and set
// (socket(7), include/uapi/asm-generic/socket.h), with the size of its value.
type socketOption struct{ name, size int }

// Options that package unix has no name for.
const (
	soBufLock     = 72
	soTxRehash    = 74
	soRcvMark     = 75
	soPassPidfd   = 76
	soRcvPriority = 82
	soPassRights  = 83
)

// socketOptionTable lists the options in the order in which they are set again:
// sizes of buffers before what forbids to change them. An option that a
// kernel or a family does not have is passed over. SO_ERROR is not here: reading
// it takes it away from the program.
func socketOptionTable() []socketOption {
	return []socketOption{
		{unix.SO_DEBUG, 4}, {unix.SO_REUSEADDR, 4}, {unix.SO_REUSEPORT, 4}, {unix.SO_DONTROUTE, 4}, {unix.SO_BROADCAST, 4},
		{unix.SO_SNDBUF, 4}, {unix.SO_RCVBUF, 4}, {soBufLock, 4},
		{unix.SO_KEEPALIVE, 4}, {unix.SO_OOBINLINE, 4}, {unix.SO_NO_CHECK, 4}, {unix.SO_PRIORITY, 4}, {unix.SO_LINGER, 8},
		{unix.SO_PASSCRED, 4}, {soPassPidfd, 4}, {unix.SO_PASSSEC, 4}, {soPassRights, 4},
		{unix.SO_RCVLOWAT, 4}, {unix.SO_RCVTIMEO, 16}, {unix.SO_SNDTIMEO, 16},
		{unix.SO_TIMESTAMP, 4}, {unix.SO_TIMESTAMPNS, 4}, {unix.SO_TIMESTAMPING, 4},
		{unix.SO_MARK, 4}, {unix.SO_RXQ_OVFL, 4}, {unix.SO_WIFI_STATUS, 4}, {unix.SO_SELECT_ERR_QUEUE, 4},
		{unix.SO_BUSY_POLL, 4}, {unix.SO_PREFER_BUSY_POLL, 4}, {unix.SO_MAX_PACING_RATE, 4}, {unix.SO_INCOMING_CPU, 4},
		{unix.SO_ZEROCOPY, 4}, {unix.SO_TXTIME, 8}, {soTxRehash, 4}, {soRcvMark, 4}, {soRcvPriority, 4},
		{unix.SO_LOCK_FILTER, 4},
	}
}

// socketOptions reads the options of a socket at level SOL_SOCKET, with its
// filter (SO_ATTACH_FILTER) if it has a classic one.
func socketOptions(fd int) ([]specs.SocketOption, error) {
	var options []specs.SocketOption
	for _, o := range socketOptionTable() {
		value, err := getOption(fd, unix.SOL_SOCKET, o.name, o.size)
		switch {
		case errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EOPNOTSUPP):
		case err != nil:
			return nil, fmt.Errorf("option %d: %w", o.name, err)
		case o.name == unix.SO_LOCK_FILTER && value[0] == 0:
		default:
			options = append(options, specs.SocketOption{Level: unix.SOL_SOCKET, Name: int32(o.name), Value: value})
		}
	}
	filter, err := socketFilter(fd)
	if err != nil || filter == nil {
		return options, err
	}
	// Before SO_LOCK_FILTER, which may be the last.
	at := len(options)
	if at > 0 && options[at-1].Name == unix.SO_LOCK_FILTER {
		at--
	}
	options = append(options, specs.SocketOption{})
	copy(options[at+1:], options[at:])
	options[at] = specs.SocketOption{Level: unix.SOL_SOCKET, Name: unix.SO_ATTACH_FILTER, Value: filter}
	return options, nil
}

// getOption is getsockopt(2).
func getOption(fd, level, name, size int) ([]byte, error) {
	value := make([]byte, size)
	n := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("getsockopt", errno)
	}
	return value[:min(int(n), size)], nil
}

// errFilter tells that a socket has a program that the kernel does not give out.
var errFilter = errors.New("has an eBPF filter, which the kernel does not give out")

// socketFilter reads the classic BPF filter of a socket: struct sock_filter, 8
// bytes each. The length counts instructions (net/core/filter.c, sk_get_filter).
func socketFilter(fd int) ([]byte, error) {
	const most = 4096 // BPF_MAXINSNS
	n, err := askFilter(fd, nil)
	if err != nil || n == 0 || n > most {
		return nil, err
	}
	code := make([]byte, n*8)
	if n, err = askFilter(fd, code); err != nil || n == 0 || n > most {
		return nil, err
	}
	return code[:min(n*8, len(code))], nil
}

// askFilter reads a filter, or without room for one its length. Both are in instructions.
func askFilter(fd int, code []byte) (int, error) {
	n := uint32(len(code) / 8)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_GET_FILTER,
		uintptr(unsafe.Pointer(unsafe.SliceData(code))), uintptr(unsafe.Pointer(&n)), 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EACCES:
		return 0, errFilter
	}
	return 0, os.NewSyscallError("getsockopt(SO_GET_FILTER)", errno)
}

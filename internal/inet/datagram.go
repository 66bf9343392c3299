package inet

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// datagramMax is more than any datagram has.
const datagramMax = 1 << 16

// Datagrams calls f for each datagram in the queue of a UDP socket, with its
// sender's raw address, its data and the control messages that the program would
// get; the slices are good until f returns. The queue stays as it is: SO_PEEK_OFF
// leads from one datagram to the next, and is the program's own again
// afterwards.
func Datagrams(fd int, f func(from, data, control []byte) error) (err error) {
	own, err := Int(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF)
	if err != nil {
		return fmt.Errorf("SO_PEEK_OFF: %w", err)
	}
	data, control := make([]byte, datagramMax), make([]byte, 1024)
	if err := SetInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return fmt.Errorf("SO_PEEK_OFF: %w", err)
	}
	defer func() { err = errors.Join(err, SetInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, own)) }()
	for i := 0; ; i++ {
		n, cn, flags, from, err := recvmsg(fd, data, control, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			err = unix.EMSGSIZE
		}
		if err == nil {
			err = f(from, data[:n], control[:cn])
		}
		if err != nil {
			return fmt.Errorf("datagram %d: %w", i, err)
		}
	}
}

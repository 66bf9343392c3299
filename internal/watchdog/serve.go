package watchdog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxOrder bounds the length of an order in bytes.
const maxOrder = 64 << 10

// patience is how long the first order may take.
const patience = 10 * time.Second

// guarded is an order that holds.
type guarded struct {
	order
	fd int
}

// Serve is the life of a watchdog: it reads orders until their socket ends, and undoes what was
// not forgotten.
func Serve() error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	if kind, err := unix.GetsockoptInt(ordersFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return errors.New("a watchdog is started by rethaw alone")
	}
	unix.CloseOnExec(ordersFD)
	// Executed from a descriptor it is called by its number. It is for people alone.
	_ = os.WriteFile("/proc/self/comm", []byte("rethaw"), 0)
	// Who started us says something at once, or took the start for a failure and waits for our end.
	first := []unix.PollFd{{Fd: ordersFD, Events: unix.POLLIN}}
	if n, err := unix.Poll(first, int(patience.Milliseconds())); n == 0 && err == nil {
		return errors.New("a watchdog was given no orders")
	}
	return serve(ordersFD)
}

func serve(socket int) error {
	var held []guarded
	for {
		o, fd, err := receive(socket)
		if err != nil {
			return errors.Join(err, undo(held))
		}
		switch {
		case o == nil:
			return undo(held)
		case o.Settle:
			if _, err := unix.Write(socket, []byte{1}); err != nil {
				return errors.Join(err, undo(held))
			}
		case o.Forget:
			held = slices.DeleteFunc(held, func(g guarded) bool {
				if g.ID == o.ID && g.fd >= 0 {
					_ = unix.Close(g.fd)
				}
				return g.ID == o.ID
			})
		case o.Undo != nil:
			held = append(held, guarded{*o, fd})
		}
	}
}

// undo undoes all, the last first.
func undo(held []guarded) error {
	var errs []error
	for _, g := range slices.Backward(held) {
		errs = append(errs, g.Undo.do(g.fd))
	}
	return errors.Join(errs...)
}

// receive reads one order, nil at the end.
func receive(socket int) (*order, int, error) {
	text, rights := make([]byte, maxOrder), make([]byte, unix.CmsgSpace(4))
	var n, rn, flags int
	var err error
	for {
		n, rn, flags, _, err = unix.Recvmsg(socket, text, rights, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, -1, os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return nil, -1, nil
	}
	fd := -1
	if messages, err := unix.ParseSocketControlMessage(rights[:rn]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			fd = fds[0]
		}
	}
	o := new(order)
	if flags&unix.MSG_TRUNC != 0 {
		return nil, fd, errors.New("an order is too long")
	}
	if err := json.Unmarshal(text[:n], o); err != nil {
		return nil, fd, fmt.Errorf("an order: %w", err)
	}
	return o, fd, nil
}

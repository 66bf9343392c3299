package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// netlinkSocketKind makes netlink sockets.
func netlinkSocketKind() fileKind {
	return fileKind{
		record: &specs.NetlinkSocket{},
		open: func(_ *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			r := rec.(*specs.NetlinkSocket)
			fd, err := unix.Socket(unix.AF_NETLINK, int(r.Kind)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(r.Protocol))
			if err != nil {
				return nil, fmt.Errorf("make netlink socket: %w", err)
			}
			f := os.NewFile(uintptr(fd), "netlink socket")
			if err := netlinkSocket(fd, r); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return based(f, &r.Description)
		},
	}
}

// netlinkSocket gives a socket its address, groups and options. The groups come last: what
// is sent to them from then on waits for the program.
func netlinkSocket(fd int, r *specs.NetlinkSocket) error {
	if err := unix.Fchown(fd, int(r.UID), int(r.GID)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if r.Port != 0 {
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: r.Port}); err != nil {
			return fmt.Errorf("bind to port %d: %w", r.Port, err)
		}
	}
	if r.PeerPort != 0 || r.PeerGroup != 0 {
		if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: r.PeerPort, Groups: r.PeerGroup}); err != nil {
			return fmt.Errorf("connect to port %d: %w", r.PeerPort, err)
		}
	}
	if err := setSocketOptions(fd, r.Options); err != nil {
		return err
	}
	for _, group := range r.Groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
			return fmt.Errorf("join group %d: %w", group, err)
		}
	}
	return nil
}

package hook

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
)

// maxConnections is how many programs may ask at a time; others wait.
const maxConnections = 16

// door is the socket at which programs ask.
type door struct {
	listener *net.UnixListener
	slots    chan struct{}

	mu sync.Mutex
	// known are the inodes of our ends of the connections, and of the socket itself for
	// those that are not accepted yet.
	known map[uint64]bool
	last  time.Time
}

// errStranger is a request of somebody outside of the container. The socket has to be open to every user
// of it, and its place on the host to the hook of a container with a user namespace.
var errStranger = errors.New("only the container's own programs may ask")

// fromInside tells whether the other end of a connection was made by a task of the container whose init is
// given: one in its pid namespace. The kernel says who it was; that it lives still after its namespace was
// looked at shows that its number had not become another's.
func fromInside(c syscall.Conn, init int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || failed != nil {
		return errors.Join(err, os.NewSyscallError("SO_PEERCRED", failed))
	}
	if peer.Pid <= 0 {
		return errStranger
	}
	before, err := procfs.ReadStat(int(peer.Pid))
	if err != nil {
		return errStranger
	}
	theirs, err := procfs.Readlink(int(peer.Pid), "ns/pid")
	if err != nil {
		return errStranger
	}
	own, err := procfs.Readlink(init, "ns/pid")
	if err != nil {
		return errEnded
	}
	after, err := procfs.ReadStat(int(peer.Pid))
	if err != nil || after.StartTime != before.StartTime || theirs != own {
		return errStranger
	}
	return nil
}

// answers tells whether a socket is our end of a connection on which a program waits:
// the one thing outside of the container that it may be connected to at a checkpoint.
func (o *door) answers(inode uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[inode]
}

// accept takes a connection. One too many has to wait for a slot.
func (o *door) accept() (*net.UnixConn, error) {
	o.slots <- struct{}{}
	c, err := o.listener.AcceptUnix()
	if err == nil {
		err = o.note(c)
	}
	if err != nil {
		<-o.slots
		return nil, err
	}
	return c, nil
}

// note remembers one of our sockets.
func (o *door) note(c syscall.Conn) error {
	inode, err := socketInode(c)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[inode] = true
	return nil
}

// forget closes a connection.
func (o *door) forget(c *net.UnixConn) {
	if inode, err := socketInode(c); err == nil {
		o.mu.Lock()
		delete(o.known, inode)
		o.mu.Unlock()
	}
	c.Close()
	<-o.slots
}

// gap is how long the next request has to wait, so that no program keeps itself stopped.
func (o *door) gap(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.last.Add(requestGap)
	if at.Before(now) {
		at = now
	}
	o.last = at
	return at.Sub(now)
}

// close ends the listening and removes the socket.
func (o *door) close() { o.listener.Close() }

// socketInode is the number by which the kernel shows a socket.
func socketInode(c syscall.Conn) (uint64, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Fstat(int(fd), &st) }); err != nil {
		return 0, err
	}
	return st.Ino, failed
}

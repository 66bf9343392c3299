package rig

import (
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// console is the listening end of a console socket: the runtime sends the
// master of the container's terminal over it (runc docs/terminals.md).
type console struct {
	path     string
	listener *net.UnixListener

	mu     sync.Mutex
	master *os.File
}

// listenConsole waits for one master and drains it into out.
func listenConsole(path string, out *stdio) (*console, error) {
	_ = os.Remove(path)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The next one listens at the same path, maybe before this one is closed.
	listener.SetUnlinkOnClose(false)
	c := &console{path: path, listener: listener}
	go func() {
		master, err := c.receive()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.master = master
		c.mu.Unlock()
		out.drain(master)
	}()
	return c, nil
}

// receive takes the descriptor out of the first message.
func (c *console) receive() (*os.File, error) {
	conn, err := c.listener.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("console socket: %d control messages, want 1", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "console"), nil
}

// terminal returns the master, nil until it has come.
func (c *console) terminal() *os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.master
}

func (c *console) close() {
	closeAll(c.listener)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.master != nil {
		closeAll(c.master)
	}
}

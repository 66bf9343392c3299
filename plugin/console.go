package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// fmtTerminal makes an ErrTerminal.
func fmtTerminal(text string) error { return fmt.Errorf("%w: %s", ErrTerminal, text) }

// prepareConsole makes the socket on which the runtime will send the master of the
// container's pty.
func (s *stdio) prepareConsole(spec *Spec) error {
	for _, f := range s.ours {
		if f == nil {
			continue
		}
		if host, err := console.ConsoleFromFile(f); err == nil {
			s.host = host
			break
		}
	}
	if s.host == nil {
		return fmtTerminal("the container has a terminal and rethaw has none: run it in a terminal, or use --detach with --console-socket")
	}
	socket, err := newConsoleSocket()
	if err != nil {
		return err
	}
	s.socket = socket
	spec.ConsoleSocket = socket.path
	// The container's stdio is its terminal; the runtime's own messages still go
	// where ours go.
	spec.Stdin, spec.Stdout = nil, nil
	return nil
}

// attachConsole takes the master and relays the container's output to us.
func (s *stdio) attachConsole(ctx context.Context) error {
	file, err := s.socket.receive(ctx)
	if err != nil {
		return err
	}
	if s.master, err = console.ConsoleFromFile(file); err != nil {
		file.Close()
		return fmt.Errorf("the container's terminal: %w", err)
	}
	// Our terminal turns \n into \r\n already.
	if err := console.ClearONLCR(s.master.Fd()); err != nil {
		return fmt.Errorf("the container's terminal: %w", err)
	}
	out := s.ours[1]
	if out == nil {
		out = os.Stdout
	}
	// Reading a master whose slaves are all closed gives EIO: the end.
	s.relays.Go(func() { _, _ = io.Copy(out, s.master) })
	return nil
}

// interact gives the container our input, now that it can take it. Our terminal is put
// into raw mode: the container's does the editing, and Ctrl-C is the container's.
func (s *stdio) interact() error {
	if s.master == nil {
		return nil
	}
	if err := s.host.SetRaw(); err != nil {
		return fmt.Errorf("setting our terminal to raw mode: %w", err)
	}
	if s.ours[0] != nil {
		// Never waited for: a read from our terminal outlasts the container.
		go func() { _, _ = io.Copy(s.master, s.ours[0]) }()
	}
	s.resize()
	return nil
}

// resize gives the container's terminal the size of ours.
func (s *stdio) resize() {
	if s.master != nil && s.host != nil {
		_ = s.master.ResizeFrom(s.host)
	}
}

// consoleSocket is the listening end of --console-socket.
type consoleSocket struct {
	dir, path string
	listener  *net.UnixListener
}

// newConsoleSocket makes a socket in a directory of its own.
func newConsoleSocket() (*consoleSocket, error) {
	// Not below TMPDIR: its length may not fit sun_path.
	dir, err := os.MkdirTemp("/tmp", "rethaw-console-")
	if err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	path := filepath.Join(dir, "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("console socket: %w", err)
	}
	return &consoleSocket{dir: dir, path: path, listener: l}, nil
}

// close removes the socket.
func (c *consoleSocket) close() {
	c.listener.Close()
	os.RemoveAll(c.dir)
}

// receive accepts one connection and takes the descriptor that it sends. The runtime
// has sent it before its create ended, so that nothing is waited for.
func (c *consoleSocket) receive(ctx context.Context) (*os.File, error) {
	defer c.close()
	deadline := time.Now().Add(5 * time.Second)
	if at, ok := ctx.Deadline(); ok && at.Before(deadline) {
		deadline = at
	}
	if err := c.listener.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	conn, err := c.listener.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("the runtime did not send the container's terminal: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("console socket: %w", err)
	}
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(name, oob)
	if err != nil {
		return nil, fmt.Errorf("the runtime did not send the container's terminal: %w", err)
	}
	fd, err := oneFD(oob[:oobn])
	if err != nil {
		return nil, fmt.Errorf("the container's terminal: %w", err)
	}
	// Blocking: the relays read it through the console library, past the poller.
	return os.NewFile(uintptr(fd), string(name[:n])), nil
}

// oneFD takes the one descriptor out of a control message.
func oneFD(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil || len(fds) == 0 {
			continue
		}
		for _, extra := range fds[1:] {
			unix.Close(extra)
		}
		unix.CloseOnExec(fds[0])
		return fds[0], nil
	}
	return -1, errors.New("a message without a descriptor")
}

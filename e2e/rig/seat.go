package rig

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	tty "github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// Seat is a terminal with a command in the foreground, as a user has it.
type Seat struct {
	t      TB
	master tty.Console
	cmd    *exec.Cmd
	ended  chan struct{}

	mu   sync.Mutex
	said strings.Builder
	read int // how much of said was awaited
}

// Sit runs a command that has a terminal of its own, of this size, for standard
// streams and as its controlling terminal.
func (c *Container) Sit(size tty.WinSize, name string, args ...string) *Seat {
	c.t.Helper()
	master, path, err := tty.NewPty()
	must(c.t, err, "make a terminal")
	must(c.t, master.Resize(size), "size of the terminal")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(c.t, err, "open the terminal")
	slave := os.NewFile(uintptr(fd), path)
	s := &Seat{t: c.t, master: master, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(c.t, s.cmd.Start(), "start "+name)
	closeAll(slave)
	go s.listen()
	c.t.Cleanup(s.leave)
	return s
}

// SitRestored restores the container in the foreground of a terminal.
func (c *Container) SitRestored(size tty.WinSize) *Seat {
	c.t.Helper()
	return c.Sit(size, c.rig.Rethaw, c.RethawArgs("restore", "--bundle", c.Bundle, "--image", c.Image, c.ID)...)
}

// listen keeps what the terminal shows.
func (s *Seat) listen() {
	defer close(s.ended)
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.said.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type types.
func (s *Seat) Type(text string) {
	s.t.Helper()
	_, err := s.master.Write([]byte(text))
	must(s.t, err, "type")
}

// Await waits for something to be shown, after what was awaited before.
func (s *Seat) Await(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		s.mu.Lock()
		i := strings.Index(s.said.String()[s.read:], text)
		if i >= 0 {
			s.read += i + len(text)
		}
		s.mu.Unlock()
		if i >= 0 {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("the terminal does not show %q, but %q", text, s.said.String()[s.read:])
}

// Resize gives the terminal another size.
func (s *Seat) Resize(size tty.WinSize) {
	s.t.Helper()
	must(s.t, s.master.Resize(size), "resize the terminal")
}

// Wait waits for the end of the command and returns its exit status.
func (s *Seat) Wait() int {
	s.t.Helper()
	timer := time.AfterFunc(commandTimeout, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait()
	<-s.ended
	return s.cmd.ProcessState.ExitCode()
}

// leave ends what still runs.
func (s *Seat) leave() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	_ = s.master.Close()
}

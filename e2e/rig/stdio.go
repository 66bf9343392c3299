package rig

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rethaw/rethaw/e2e/snapshot"
	"golang.org/x/sys/unix"
)

// StdioKind is where a container's standard streams lead.
type StdioKind int

// The ways in which containers are commonly started.
const (
	LogFile  StdioKind = iota // stdin /dev/null, output appended to a file on the host
	Pipe                      // three pipes to the process that started it
	Null                      // /dev/null for all three
	Terminal                  // a pty, whose master is received over a console socket
	Joined                    // as LogFile, but stderr is the very description that stdout is
)

// StdioKinds are those that engines make, for tests that go through the lot.
var StdioKinds = []StdioKind{LogFile, Pipe, Null, Terminal}

func (k StdioKind) String() string {
	return [...]string{"log", "pipe", "null", "terminal", "joined"}[k]
}

// stdio is one set of standard streams: a container gets a new one each time it
// is made.
type stdio struct {
	files   [3]*os.File // what the container gets; nil for a terminal
	console *console    // of a terminal
	log     string      // path, of a log file
	input   *os.File    // our end of stdin, of a pipe

	roles map[snapshot.FileID]string // of the host's files among them

	mu  sync.Mutex
	out bytes.Buffer
}

// open makes the streams of a container that is about to be started.
func (k StdioKind) open(dir string) (*stdio, error) {
	s := &stdio{}
	var err error
	if k == Terminal {
		s.console, err = listenConsole(filepath.Join(dir, "console.sock"), s)
		return s, err
	}
	if k == Pipe {
		return s, s.openPipes()
	}
	if s.files[0], err = os.Open(os.DevNull); err != nil {
		return nil, err
	}
	out := os.DevNull
	if k == Joined {
		return s, s.openJoined(dir)
	}
	if k == LogFile {
		s.log = filepath.Join(dir, "log")
		out = s.log
	}
	for i := 1; i <= 2; i++ {
		if s.files[i], err = os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// openJoined is `>>log 2>&1` of a shell.
func (s *stdio) openJoined(dir string) error {
	s.log = filepath.Join(dir, "log")
	var err error
	if s.files[1], err = os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return err
	}
	fd, err := unix.FcntlInt(s.files[1].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	s.files[2] = os.NewFile(uintptr(fd), s.log)
	return err
}

func (s *stdio) openPipes() error {
	var err error
	if s.files[0], s.input, err = os.Pipe(); err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	for i := 1; i <= 2; i++ {
		var ours *os.File
		if ours, s.files[i], err = os.Pipe(); err != nil {
			return fmt.Errorf("stdout: %w", err)
		}
		go s.drain(ours)
	}
	return nil
}

// drain collects what the container writes until its last writer is gone.
func (s *stdio) drain(from io.ReadCloser) {
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		s.out.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// identify notes which files are the host's, before a container has them: Fd
// makes a file wait that would not. The runtime replaces /dev/null by the container's own, so that one is not.
func (s *stdio) identify() {
	s.roles = map[snapshot.FileID]string{}
	for i, f := range s.files {
		var stat unix.Stat_t
		if f == nil || unix.Fstat(int(f.Fd()), &stat) != nil || stat.Mode&unix.S_IFMT == unix.S_IFCHR {
			continue
		}
		role := [...]string{"stdin", "stdout", "stderr"}[i]
		if s.log != "" {
			role = "log"
		}
		s.roles[snapshot.FileID{Dev: stat.Dev, Ino: stat.Ino}] = role
	}
}

// started closes the ends that the container has now.
func (s *stdio) started() {
	for _, f := range s.files {
		if f != nil {
			closeAll(f)
		}
	}
}

// write gives input to a pipe or a terminal.
func (s *stdio) write(text string) error {
	to := s.input
	if s.console != nil {
		// The runtime sends the master when it has made the terminal, which a
		// busy machine may take its time for.
		for range 500 {
			if to = s.console.terminal(); to != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if to == nil {
		return os.ErrClosed
	}
	_, err := to.WriteString(text)
	return err
}

// close lets go of what is left.
func (s *stdio) close() {
	if s.console != nil {
		s.console.close()
	}
	if s.input != nil {
		closeAll(s.input)
	}
}

// output returns what the container has written so far.
func (s *stdio) output() string {
	if s.log != "" {
		text, err := os.ReadFile(s.log)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

package plugin

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/containerd/console"
)

// ErrTerminal: the options about the terminal do not fit the bundle or our own
// stdio.
var ErrTerminal = errors.New("terminal")

// stdio connects a foreground container with our own stdin, stdout and stderr. The
// container's are ours directly, with two exceptions: a container with a terminal
// gets a pty whose master we relay, and a container without one never gets a
// descriptor of our terminal, which would let it type into our shell (TIOCSTI);
// pipes stand between them.
type stdio struct {
	// ours is our own stdio, given is what the runtime passes on and we close
	// once it has.
	ours   [3]*os.File
	given  []*os.File
	input  *os.File
	relays sync.WaitGroup
	socket *consoleSocket
	master console.Console
	host   console.Console
	once   sync.Once
}

// prepareStdio completes the stdio of spec for a container with or without a terminal.
func prepareStdio(terminal, detach bool, spec *Spec) (*stdio, error) {
	s := &stdio{ours: [3]*os.File{spec.Stdin, spec.Stdout, spec.Stderr}}
	switch {
	case terminal && detach && spec.ConsoleSocket == "":
		return nil, fmtTerminal("the container has a terminal: --detach needs a --console-socket that takes it")
	case !(terminal && detach) && spec.ConsoleSocket != "":
		return nil, fmtTerminal("--console-socket is only for a container with a terminal (process.terminal in config.json) and --detach")
	case detach:
		return s, nil
	case terminal:
		return s, s.prepareConsole(spec)
	}
	return s, s.prepareRelays(spec)
}

// prepareRelays puts pipes in the place of our terminal.
func (s *stdio) prepareRelays(spec *Spec) error {
	if isTerminal(spec.Stdin) {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		s.given, s.input = append(s.given, r), w
		// This reader never ends by itself: a read from our terminal outlasts the
		// container. It holds nothing that matters then.
		go func(from *os.File) {
			_, _ = io.Copy(w, from)
			w.Close()
		}(spec.Stdin)
		spec.Stdin = r
	}
	for _, out := range []**os.File{&spec.Stdout, &spec.Stderr} {
		if !isTerminal(*out) {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			s.close()
			return err
		}
		s.given = append(s.given, w)
		to := *out
		s.relays.Go(func() {
			_, _ = io.Copy(to, r)
			r.Close()
		})
		*out = w
	}
	return nil
}

// attach is called when the container is made: what it holds itself is closed here,
// and its terminal is taken over.
func (s *stdio) attach(ctx context.Context) error {
	s.closeGiven()
	if s.socket == nil {
		return nil
	}
	return s.attachConsole(ctx)
}

// closeGiven closes the ends of pipes that belong to the container.
func (s *stdio) closeGiven() {
	for _, f := range s.given {
		f.Close()
	}
	s.given = nil
}

// close ends the relays, when the container is gone and has written all it had, and
// gives our terminal its former mode.
func (s *stdio) close() {
	s.once.Do(func() {
		s.closeGiven()
		if s.socket != nil {
			s.socket.close()
		}
		s.relays.Wait()
		if s.input != nil {
			s.input.Close()
		}
		if s.host != nil {
			_ = s.host.Reset()
		}
		if s.master != nil {
			s.master.Close()
		}
	})
}

// isTerminal tells whether f is a terminal.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	_, err := console.ConsoleFromFile(f)
	return err == nil
}

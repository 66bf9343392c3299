package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals returns a channel that gets every signal sent to this process from now on
// that Wait may forward. stop ends that.
func Signals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 256)
	signal.Notify(c)
	return c, func() { signal.Stop(c) }
}

// Release leaves the restored tasks to themselves.
func (s *Session) Release() { s.stdio.close() }

// Name is the name of the restored container, "" if there is none.
func (s *Session) Name() string {
	if s.container == nil {
		return ""
	}
	return s.container.Candidate().Called()
}

// Pid is the host pid of the restored root task.
func (s *Session) Pid() int { return s.init.pid }

// Wait stays with the restored tasks until their root ends, as `runc run` does:
// signals go to the root, the terminal follows the size of ours. Then it removes
// the container and returns the root's exit status, 128 plus the number for a
// signal.
func (s *Session) Wait(ctx context.Context, signals <-chan os.Signal) (int, error) {
	if s.attached != nil {
		return s.attached.wait(signals)
	}
	type end struct {
		status int
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		status, err := s.init.wait()
		ended <- end{status, err}
	}()
	// Without it the container still runs, only less comfortably.
	interact := s.stdio.interact()
	for {
		select {
		case sig := <-signals:
			s.forward(sig)
		case e := <-ended:
			s.stdio.close()
			err := errors.Join(e.err, interact)
			if s.container != nil {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				defer cancel()
				err = errors.Join(err, s.container.Destroy(ctx))
			}
			return e.status, err
		}
	}
}

// forward passes a signal on to the root task.
func (s *Session) forward(sig os.Signal) {
	switch sig {
	case unix.SIGWINCH:
		s.stdio.resize()
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG:
		// SIGCHLD is about our own children, SIGPIPE about our own output, and
		// SIGURG is what the Go runtime stops its threads with.
	default:
		if number, ok := sig.(syscall.Signal); ok {
			// The root may have ended in this moment; Wait sees it then.
			_ = unix.Kill(s.init.pid, number)
		}
	}
}

// wait returns the exit status of a process that is our child. Of another one, only
// the end can be seen: its status counts as 0.
func (p process) wait() (int, error) {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(p.pid, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return 0, p.await(context.Background())
		case err != nil:
			return 0, fmt.Errorf("waiting for pid %d: %w", p.pid, err)
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

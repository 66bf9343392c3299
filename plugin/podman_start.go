package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// podmanStart is one run of podman start: one that returns when the container is
// started, or one that stays attached to it.
type podmanStart struct {
	container *podmanContainer
	cmd       *exec.Cmd
	said      *bytes.Buffer
	// called is set when podman is run, done closed when it has ended, with err.
	called atomic.Bool
	done   chan struct{}
	err    error
}

// prepareStart chooses between the two.
func (c *podmanContainer) prepareStart(ctx context.Context, r Request) (*podmanStart, error) {
	args := []string{"start"}
	stdin := false
	if !r.Detach {
		args = append(args, "--attach", "--sig-proxy")
		var err error
		if stdin, err = c.takesInput(); err != nil {
			return nil, err
		}
		if stdin {
			args = append(args, "--interactive")
		}
	}
	p := &podmanStart{container: c, done: make(chan struct{})}
	var err error
	if p.cmd, p.said, err = c.engine.command(context.WithoutCancel(ctx), append(args, c.entry.ID)...); err != nil {
		return nil, err
	}
	if r.Detach {
		// A process group of its own, or Ctrl-C would hit podman halfway.
		p.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		return p, nil
	}
	// A nil *os.File in an interface is not nil: assign only what is there.
	if stdin && r.Spec.Stdin != nil {
		p.cmd.Stdin = r.Spec.Stdin
	}
	if r.Spec.Stdout != nil {
		p.cmd.Stdout = r.Spec.Stdout
	}
	if r.Spec.Stderr != nil {
		p.cmd.Stderr = r.Spec.Stderr
	}
	return p, nil
}

// takesInput tells whether the container was made with podman's --interactive, or with
// --tty: conmon, the parent of its init, was told.
func (c *podmanContainer) takesInput() (bool, error) {
	conmon, err := parent(c.Candidate().Pid)
	if err != nil {
		return false, err
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", conmon))
	if err != nil {
		return false, err
	}
	args := strings.Split(string(cmdline), "\x00")
	return slices.Contains(args, "-i") || slices.Contains(args, "-t"), nil
}

// run runs podman to its end, which is the end of the container if it is attached.
func (p *podmanStart) run(ctx context.Context) error {
	defer close(p.done)
	p.called.Store(true)
	p.err = p.cmd.Run()
	return p.container.engine.failure(ctx, "start", p.said, p.err)
}

// wait stays until podman has ended and returns the container's exit status, as podman
// tells it. Signals go to podman, which passes them on.
func (p *podmanStart) wait(signals <-chan os.Signal) (int, error) {
	for {
		select {
		case sig := <-signals:
			p.forward(sig)
		case <-p.done:
			var exit *exec.ExitError
			if p.err == nil || errors.As(p.err, &exit) {
				return p.cmd.ProcessState.ExitCode(), nil
			}
			return 0, p.container.engine.failure(context.Background(), "start", p.said, p.err)
		}
	}
}

// forward passes a signal on. Those of a terminal reach podman by themselves, which is in
// our process group for that.
func (p *podmanStart) forward(sig os.Signal) {
	switch sig {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG:
		return
	case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT, unix.SIGTTIN, unix.SIGTTOU:
		if isTerminal(os.Stdin) {
			return
		}
	}
	// podman may have ended in this moment; wait sees it then.
	_ = p.cmd.Process.Signal(sig)
}

package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/rethaw/rethaw/internal/timens"
	"golang.org/x/sys/unix"
)

// podmanCommands runs podman's program on one store. What else podman was told when the
// container was made (its runtime, its other directories) stands in its database.
type podmanCommands struct {
	program string
	store   storage
}

// command prepares a call of podman. Its errors go into the second result.
func (p podmanCommands) command(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, error) {
	path, err := exec.LookPath(p.program)
	if err != nil {
		return nil, nil, &RuntimeError{Program: p.program, Op: args[0],
			Err: fmt.Errorf("%w: install it or name its program with --runtime", err)}
	}
	if p.store.given {
		args = append([]string{"--root", p.store.graph}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	said := new(bytes.Buffer)
	cmd.Stderr = said
	// On cancellation podman may finish its work; only if it hangs it is killed.
	cmd.Cancel = func() error { return nil }
	cmd.WaitDelay = 10 * time.Second
	return cmd, said, nil
}

// run runs one verb to its end.
func (p podmanCommands) run(ctx context.Context, verb string, args ...string) error {
	return p.runIn(ctx, timens.Offsets{}, verb, args...)
}

// runIn is run in a time namespace.
func (p podmanCommands) runIn(ctx context.Context, clocks timens.Offsets, verb string, args ...string) error {
	cmd, said, err := p.command(ctx, append([]string{verb}, args...)...)
	if err != nil {
		return err
	}
	// A process group of its own, or Ctrl-C would hit podman halfway.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return p.failure(ctx, verb, said, runIn(ctx, clocks, cmd))
}

// failure makes an error of podman's end: err with what podman said.
func (p podmanCommands) failure(ctx context.Context, verb string, said *bytes.Buffer, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return &RuntimeError{Program: p.program, Op: verb, Message: podmanMessage(said), Err: err}
}

// podmanMessage returns the last thing that podman said, without what marks it as an
// error.
func podmanMessage(said io.Reader) string {
	text, err := io.ReadAll(said)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.TrimPrefix(lines[len(lines)-1], "Error: ")
}

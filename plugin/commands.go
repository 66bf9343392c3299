package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rethaw/rethaw/internal/timens"
	"golang.org/x/sys/unix"
)

// commands runs the program of an OCI runtime, set to one state directory. runc and
// crun share the command line of these verbs.
type commands struct {
	name    string
	program string
	root    string
}

// create makes a container whose init waits for start.
func (c commands) create(ctx context.Context, s Spec) error {
	bundle, err := filepath.Abs(s.Bundle)
	if err != nil {
		return err
	}
	args := []string{"create", "--bundle", bundle}
	if s.ConsoleSocket != "" {
		args = append(args, "--console-socket", s.ConsoleSocket)
	}
	if s.NoPivot {
		args = append(args, "--no-pivot")
	}
	if s.NoNewKeyring {
		args = append(args, "--no-new-keyring")
	}
	var global []string
	if s.SystemdCgroup {
		global = append(global, "--systemd-cgroup")
	}
	program, err := exec.LookPath(c.program)
	if err != nil {
		program = c.program // run says what is wrong
	}
	if err := s.making.begin(c, program, bundle, s.ID); err != nil {
		return err
	}
	err = c.run(ctx, s, global, append(args, s.ID))
	if err != nil && !notStarted(err) {
		// A runtime that fails leaves nothing, and what is there may be another's.
		err = errors.Join(err, s.making.done())
	}
	return err
}

// start lets the init of a created container go on.
func (c commands) start(ctx context.Context, id string) error {
	return c.run(ctx, Spec{}, nil, []string{"start", id})
}

// deleteForce kills and removes a container. It is cleaning up, so a cancelled context
// does not stop it.
func (c commands) deleteForce(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return c.run(ctx, Spec{}, nil, []string{"delete", "--force", id})
}

// run executes the program with the stdio of s. The message of a failure comes from
// the runtime's log, which is a memfd, since the stderr may be the container's.
func (c commands) run(ctx context.Context, s Spec, global, args []string) error {
	path, err := exec.LookPath(c.program)
	if err != nil {
		return &RuntimeError{Program: c.program, Op: args[0],
			Err: fmt.Errorf("%w: install it or name its program with --runtime", err)}
	}
	log, err := newLog()
	if err != nil {
		return err
	}
	defer log.Close()

	full := append([]string{"--root", c.root, "--log", "/proc/self/fd/3", "--log-format", "json"}, global...)
	cmd := exec.CommandContext(ctx, path, append(full, args...)...)
	// A nil *os.File in an interface is not nil: assign only what is there.
	if s.Stdin != nil {
		cmd.Stdin = s.Stdin
	}
	if s.Stdout != nil {
		cmd.Stdout = s.Stdout
	}
	if s.Stderr != nil {
		cmd.Stderr = s.Stderr
	}
	cmd.ExtraFiles = []*os.File{log}
	// A process group of its own, or Ctrl-C would hit the runtime halfway. On
	// cancellation it may finish its short work; only one that hangs is killed.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return nil }
	cmd.WaitDelay = 5 * time.Second
	err = runIn(ctx, s.Clocks, cmd)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return &RuntimeError{Program: c.program, Op: args[0], Message: lastMessage(log), Err: err}
	}
	return nil
}

// runIn runs a command in a time namespace; ctx is that of the command.
func runIn(ctx context.Context, clocks timens.Offsets, cmd *exec.Cmd) error {
	err := timens.With(clocks, cmd.Start)
	if errors.Is(err, unix.EINVAL) && clocks != (timens.Offsets{}) && !timens.ByExec() {
		var args []string
		if args, err = timens.Command(clocks, append([]string{cmd.Path}, cmd.Args[1:]...)...); err != nil {
			return err
		}
		again := exec.CommandContext(ctx, args[0], args[1:]...)
		again.Stdin, again.Stdout, again.Stderr, again.ExtraFiles = cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles
		again.Env, again.Dir, again.SysProcAttr = cmd.Env, cmd.Dir, cmd.SysProcAttr
		again.Cancel, again.WaitDelay = cmd.Cancel, cmd.WaitDelay
		cmd = again
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// newLog returns an empty file in memory that a child can open by its number.
func newLog() (*os.File, error) {
	fd, err := unix.MemfdCreate("runtime-log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create for the runtime's log: %w", err)
	}
	return os.NewFile(uintptr(fd), "runtime-log"), nil
}

// lastMessage returns the text of the last error in a runtime's JSON log.
func lastMessage(log *os.File) string {
	var data bytes.Buffer
	if _, err := log.Seek(0, 0); err != nil {
		return ""
	}
	if _, err := data.ReadFrom(log); err != nil {
		return ""
	}
	return parseLog(data.Bytes())
}

// parseLog returns the text of the last line of level error (or the last line at all)
// of a log in the JSON that runc and crun write.
func parseLog(data []byte) string {
	var last, lastError string
	for line := range bytes.Lines(data) {
		var entry struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
		}
		if json.Unmarshal(line, &entry) != nil || entry.Msg == "" {
			continue
		}
		last = entry.Msg
		if entry.Level == "error" || entry.Level == "fatal" {
			lastError = entry.Msg
		}
	}
	if lastError != "" {
		last = lastError
	}
	return strings.TrimSpace(last)
}

// existsError is the error for an id that is in use.
func existsError(engine, id, root string) error {
	return fmt.Errorf("%s %w: %q in %s: delete that container (%s delete %s) or choose another id",
		engine, ErrExists, id, root, engine, id)
}

// ownNamespace checks that the init of a container is pid 1 of a pid namespace of its
// own; otherwise "every task of the namespace" would be others' tasks as well.
func ownNamespace(c Candidate, init process) error {
	pid, err := innerPid(init.pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &StateError{Candidate: c, Status: Stopped, Remedy: "only a running container can be checkpointed"}
	case err != nil:
		return err
	case pid != 1:
		return fmt.Errorf("%w: %s shares the pid namespace of others: give it a namespace of its own (linux.namespaces in config.json)",
			ErrUnsupported, c)
	}
	return nil
}

// validID tells whether name can be the id of an OCI container; what cannot is no path
// either.
func validID(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// statusOf tells the status of a container of runc or crun by its init, its state
// directory and the freezer of its cgroup.
func statusOf(init process, dir, freezer string) Status {
	if !init.alive() {
		return Stopped
	}
	if _, err := os.Stat(filepath.Join(dir, execFifoName)); err == nil {
		return Created
	}
	if frozen(freezer) {
		return Paused
	}
	return Running
}

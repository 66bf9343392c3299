package rig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// commandTimeout ends a command that hangs.
const commandTimeout = 2 * time.Minute

// Result is what became of a command.
type Result struct {
	Args   []string
	Code   int // exit status; -1 if it did not start or a signal ended it
	Err    error
	Stdout string
	Stderr string
	Took   time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%s: %v (exit %d after %v)\n%s%s", strings.Join(r.Args, " "), r.Err, r.Code, r.Took, r.Stdout, r.Stderr)
}

// command runs a program to its end and keeps its output. It goes through files:
// a pipe would be waited for as long as a task that the program left behind has it.
func (r *Rig) command(name string, args ...string) Result {
	return r.commandEnv(nil, name, args...)
}

// commandEnv is command in an environment, nil for ours.
func (r *Rig) commandEnv(env []string, name string, args ...string) Result {
	cmd := exec.Command(name, args...)
	cmd.Env = env
	var files [2]*os.File
	for i := range files {
		file, err := os.CreateTemp(r.Dir, "output")
		if err != nil {
			return Result{Args: cmd.Args, Code: -1, Err: err}
		}
		defer file.Close()
		defer os.Remove(file.Name())
		files[i] = file
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	result := finish(cmd)
	result.Stdout, result.Stderr = rewindRead(files[0]), rewindRead(files[1])
	return result
}

func rewindRead(file *os.File) string {
	_, _ = file.Seek(0, io.SeekStart)
	text, _ := io.ReadAll(file)
	return string(text)
}

// launch runs a program that hands its own streams to a container. What it has
// to say of itself then goes into those streams too; a runtime is told to log to
// a file instead, which ends up in Stderr.
func (r *Rig) launch(stdio [3]*os.File, dir, name string, args ...string) Result {
	log := filepath.Join(dir, "launch.log")
	_ = os.Remove(log)
	if name == r.Runtime {
		args = append([]string{"--log", log}, args...)
	}
	cmd := exec.Command(name, args...)
	var said *os.File
	if stdio[0] == nil {
		// A terminal: the streams are not the container's.
		var err error
		if said, err = os.Create(filepath.Join(dir, "launch.out")); err != nil {
			return Result{Args: cmd.Args, Code: -1, Err: err}
		}
		defer said.Close()
		cmd.Stdout, cmd.Stderr = said, said
	} else {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio[0], stdio[1], stdio[2]
	}
	result := finish(cmd)
	text, _ := os.ReadFile(log)
	result.Stderr = string(text)
	if said != nil {
		result.Stdout = rewindRead(said)
	}
	return result
}

// finish starts a command, waits for it at most commandTimeout, and measures.
func finish(cmd *exec.Cmd) Result {
	cmd.WaitDelay = time.Second
	result := Result{Args: cmd.Args}
	start := time.Now()
	if result.Err = cmd.Start(); result.Err != nil {
		result.Code = -1
		return result
	}
	timer := time.AfterFunc(commandTimeout, func() { _ = cmd.Process.Kill() })
	result.Err = cmd.Wait()
	if !timer.Stop() {
		result.Err = fmt.Errorf("killed after %v: %w", commandTimeout, result.Err)
	}
	result.Took = time.Since(start)
	result.Code = cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if result.Err != nil && !errors.As(result.Err, &exit) && result.Code == 0 {
		result.Code = -1
	}
	return result
}

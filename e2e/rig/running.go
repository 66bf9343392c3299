package rig

import (
	"os"
	"os/exec"
	"time"
)

// Running is a rethaw that was started and not waited for.
type Running struct {
	cmd    *exec.Cmd
	files  [2]*os.File
	result chan Result
	start  time.Time
}

// StartRethaw starts a verb of rethaw on this container's runtime.
func (c *Container) StartRethaw(verb string, args ...string) *Running {
	c.t.Helper()
	r := &Running{cmd: exec.Command(c.rig.Rethaw, c.RethawArgs(verb, args...)...), result: make(chan Result, 1)}
	for i := range r.files {
		file, err := os.CreateTemp(c.dir, "output")
		must(c.t, err, "make a file for the output")
		r.files[i] = file
	}
	r.cmd.Stdout, r.cmd.Stderr = r.files[0], r.files[1]
	r.start = time.Now()
	must(c.t, r.cmd.Start(), "start rethaw")
	go func() {
		err := r.cmd.Wait()
		result := Result{Args: r.cmd.Args, Err: err, Code: r.cmd.ProcessState.ExitCode(), Took: time.Since(r.start)}
		result.Stdout, result.Stderr = rewindRead(r.files[0]), rewindRead(r.files[1])
		for _, file := range r.files {
			closeAll(file)
			_ = os.Remove(file.Name())
		}
		r.result <- result
	}()
	return r
}

// Signal sends a signal; a rethaw that has ended gets none.
func (r *Running) Signal(signal os.Signal) { _ = r.cmd.Process.Signal(signal) }

// Wait returns what became of it, and kills it after a while.
func (r *Running) Wait() Result {
	timer := time.AfterFunc(commandTimeout, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	result := <-r.result
	r.result <- result
	return result
}

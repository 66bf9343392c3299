//go:build amd64

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what is run over and over.
type Program struct {
	Path string
	// Env is added to the environment.
	Env     []string
	symbols *symbols
}

// Open prepares a Go program.
func Open(path string) (*Program, error) {
	s, err := readSymbols(path)
	if err != nil {
		return nil, err
	}
	return &Program{Path: path, symbols: s}, nil
}

// ErrHangs means that a run was ended because it took too long.
var ErrHangs = errors.New("the program hangs")

// patience is how long a run may take.
const patience = 3 * time.Minute

// Record runs the program undisturbed and gives its steps.
func (p *Program) Record(args []string, files [3]*os.File) (Outcome, error) {
	return p.run(args, files, nil)
}

// Run runs the program and strikes.
func (p *Program) Run(args []string, files [3]*os.File, s Strike) (Outcome, error) {
	return p.run(args, files, &s)
}

func (p *Program) run(args []string, files [3]*os.File, s *Strike) (out Outcome, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, and with it what it traces (EXITKILL).
		runtime.LockOSThread()
		out, err = p.trace(args, files, s)
	}()
	<-done
	return out, err
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL

func (p *Program) trace(args []string, files [3]*os.File, s *Strike) (Outcome, error) {
	attr := &os.ProcAttr{Files: files[:], Sys: &unix.SysProcAttr{Ptrace: true, Setpgid: true}, Env: append(os.Environ(), p.Env...)}
	process, err := os.StartProcess(p.Path, append([]string{filepath.Base(p.Path)}, args...), attr)
	if err != nil {
		return Outcome{}, err
	}
	pid := process.Pid
	defer func() { _ = process.Release() }()
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return Outcome{}, err
	}
	if !status.Stopped() {
		return Outcome{}, fmt.Errorf("%s did not start: %v", p.Path, status)
	}
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return Outcome{}, err
	}
	t := &run{leader: pid, strike: s, symbols: p.symbols, threads: map[int]*thread{pid: {}}, times: 0}
	if s == nil {
		t.recorder = newRecorder()
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return Outcome{}, err
	}
	alarm := time.AfterFunc(patience, func() { t.hung.Store(true); _ = unix.Kill(pid, unix.SIGKILL) })
	defer alarm.Stop()
	out, err := t.loop()
	if t.hung.Load() {
		err = fmt.Errorf("after %v: %w", patience, ErrHangs)
	}
	if t.recorder != nil {
		out.Steps = t.recorder.list(p.symbols)
	}
	return out, err
}

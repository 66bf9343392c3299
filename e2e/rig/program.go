package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// answerTimeout is how long a state program may take for an answer.
const answerTimeout = 60 * time.Second

// Program is a container whose init is a state program of e2e/programs: it
// builds its state, keeps a random nonce in memory alone, and checks all of it
// from inside each time it is asked (e2e/programs/README.md).
type Program struct {
	*Container
	Nonce  string
	checks int
}

// RunProgram compiles e2e/programs/NAME.c, runs it in a container of its own and
// waits until its state is built.
func (r *Rig) RunProgram(t TB, name string, config Config) *Program {
	t.Helper()
	p := r.NewProgram(t, name, config)
	p.Run()
	p.WaitReady()
	return p
}

// NewProgram is RunProgram without the run.
func (r *Rig) NewProgram(t TB, name string, config Config) *Program {
	t.Helper()
	config.Args = append([]string{"/programs/" + name}, config.Args...)
	p := &Program{Container: r.New(t, config)}
	p.AddProgram(r.CProgram(t, name), name)
	return p
}

// AddProgram puts a binary into the rootfs as /programs/NAME.
func (c *Container) AddProgram(binary, name string) {
	c.t.Helper()
	text, err := os.ReadFile(binary)
	must(c.t, err, "read program")
	must(c.t, os.WriteFile(filepath.Join(c.Rootfs, "programs", name), text, 0o755), "copy program")
}

// WaitReady waits until the program says that its state is built.
func (p *Program) WaitReady() {
	p.t.Helper()
	p.Nonce = strings.TrimSpace(p.wait("ready"))
}

// wait returns the content of a file in /state as soon as it is there. A program
// that gives up says so in a file of its own.
func (p *Program) wait(name string) string {
	p.t.Helper()
	for deadline := time.Now().Add(answerTimeout); ; time.Sleep(2 * time.Millisecond) {
		for _, file := range []string{name, "failed", "skip"} {
			text, err := os.ReadFile(filepath.Join(p.StateDir, file))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				p.t.Fatalf("%v", err)
			case file == name:
				return string(text)
			default:
				p.t.Fatalf("the program %s: %s", file, text)
			}
		}
		if time.Now().After(deadline) {
			state, _ := p.State()
			p.t.Fatalf("no /state/%s after %v; the container is %q and wrote:\n%s", name, answerTimeout, state.Status, p.Output())
		}
	}
}

// Skipped returns why the program cannot build its state on this kernel, once it
// has said so.
func (p *Program) Skipped() (why string, ok bool) {
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(p.StateDir, "skip")); err == nil {
			return string(text), true
		}
		for _, other := range []string{"ready", "failed"} {
			if _, err := os.Stat(filepath.Join(p.StateDir, other)); err == nil {
				return "", false
			}
		}
	}
	return "", false
}

// Ask has the program check its state and returns what it says.
func (p *Program) Ask() (string, error) {
	p.t.Helper()
	p.checks++
	n := strconv.Itoa(p.checks)
	if err := os.WriteFile(filepath.Join(p.StateDir, "check."+n), nil, 0o644); err != nil {
		return "", err
	}
	answer := strings.TrimSpace(p.wait("result." + n))
	if answer != "ok "+p.Nonce {
		return answer, fmt.Errorf("%s\nwant: ok %s", answer, p.Nonce)
	}
	return answer, nil
}

// Rewind forgets the last question, which a program that is restored from an older
// image has not heard yet.
func (p *Program) Rewind() {
	p.t.Helper()
	for _, pattern := range []string{"check.%d", "result.%d", "part.%d.*"} {
		names, err := filepath.Glob(filepath.Join(p.StateDir, fmt.Sprintf(pattern, p.checks)))
		must(p.t, err, "find answers")
		for _, name := range names {
			must(p.t, os.Remove(name), "forget an answer")
		}
	}
	p.checks--
}

// Check is Ask that fails the test where anything is wrong with the state.
func (p *Program) Check(when string) {
	p.t.Helper()
	if _, err := p.Ask(); err != nil {
		p.t.Errorf("%s: from inside: %v", when, err)
	}
}

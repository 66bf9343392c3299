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

// Talk is a conversation with a state program, through files in the directory that
// it sees as /state (e2e/programs/README.md).
type Talk struct {
	Nonce string

	tb     TB
	dir    string
	checks int
	// silent says what is known of a program that does not answer.
	silent func() string
}

// WaitReady waits until the program says that its state is built.
func (p *Talk) WaitReady() {
	p.tb.Helper()
	p.Nonce = strings.TrimSpace(p.wait("ready"))
}

// wait returns the content of a file in /state as soon as it is there. A program
// that gives up says so in a file of its own.
func (p *Talk) wait(name string) string {
	p.tb.Helper()
	for deadline := time.Now().Add(answerTimeout); ; time.Sleep(2 * time.Millisecond) {
		for _, file := range []string{name, "failed", "skip"} {
			text, err := os.ReadFile(filepath.Join(p.dir, file))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				continue
			case err != nil:
				p.tb.Fatalf("%v", err)
			case file == name:
				return string(text)
			default:
				p.tb.Fatalf("the program %s: %s", file, text)
			}
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("no /state/%s after %v; %s", name, answerTimeout, p.silent())
		}
	}
}

// Skipped returns why the program cannot build its state on this kernel, once it
// has said so.
func (p *Talk) Skipped() (why string, ok bool) {
	for deadline := time.Now().Add(answerTimeout); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(p.dir, "skip")); err == nil {
			return string(text), true
		}
		for _, other := range []string{"ready", "failed"} {
			if _, err := os.Stat(filepath.Join(p.dir, other)); err == nil {
				return "", false
			}
		}
	}
	return "", false
}

// Ask has the program check its state and returns what it says.
func (p *Talk) Ask() (string, error) {
	p.tb.Helper()
	p.checks++
	n := strconv.Itoa(p.checks)
	if err := os.WriteFile(filepath.Join(p.dir, "check."+n), nil, 0o644); err != nil {
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
func (p *Talk) Rewind() {
	p.tb.Helper()
	for _, pattern := range []string{"check.%d", "result.%d", "part.%d.*"} {
		names, err := filepath.Glob(filepath.Join(p.dir, fmt.Sprintf(pattern, p.checks)))
		must(p.tb, err, "find answers")
		for _, name := range names {
			must(p.tb, os.Remove(name), "forget an answer")
		}
	}
	p.checks--
}

// Check is Ask that fails the test where anything is wrong with the state.
func (p *Talk) Check(when string) {
	p.tb.Helper()
	if _, err := p.Ask(); err != nil {
		p.tb.Errorf("%s: from inside: %v", when, err)
	}
}

// Follow takes up a conversation where another stands: the program is a copy of the
// other's.
func (p *Talk) Follow(other *Talk) { p.Nonce, p.checks = other.Nonce, other.checks }

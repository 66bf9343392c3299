package plugin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/checkpoint"
)

// fake is an engine with given containers.
type fake struct {
	name string
	has  []Candidate
	err  error
}

func (f fake) Name() string                                { return f.name }
func (f fake) Create(context.Context, Spec) (Fresh, error) { return nil, ErrUnsupported }
func (f fake) Find(_ context.Context, name string) ([]Container, error) {
	var found []Container
	for _, c := range f.has {
		if c.ID == name {
			found = append(found, fakeContainer{c})
		}
	}
	return found, f.err
}

func (f fake) List(context.Context) ([]Container, error) {
	var all []Container
	for _, c := range f.has {
		all = append(all, fakeContainer{c})
	}
	return all, f.err
}

type fakeContainer struct{ c Candidate }

func (f fakeContainer) Candidate() Candidate                   { return f.c }
func (f fakeContainer) Status(context.Context) (Status, error) { return Running, nil }
func (f fakeContainer) Target(context.Context) (checkpoint.Target, error) {
	return checkpoint.Target{}, ErrUnsupported
}
func (f fakeContainer) Destroy(context.Context) error { return nil }

func TestFind(t *testing.T) {
	one := Candidate{Engine: "runc", ID: "web", Root: "/run/runc"}
	two := Candidate{Engine: "crun", ID: "web", Root: "/run/crun"}
	broken := errors.New("broken state")
	tests := []struct {
		name    string
		engines []Engine
		want    error
		text    string
	}{
		{"one", []Engine{fake{"runc", []Candidate{one}, nil}, fake{"crun", nil, nil}}, nil, ""},
		{"none", []Engine{fake{"runc", nil, nil}, fake{"crun", nil, nil}}, ErrNotFound, "runc, crun"},
		{"two", []Engine{fake{"runc", []Candidate{one}, nil}, fake{"crun", []Candidate{two}, nil}}, ErrAmbiguous, "/run/crun"},
		{"none and one broken", []Engine{fake{"runc", nil, broken}}, broken, ""},
		{"one and one broken", []Engine{fake{"runc", nil, broken}, fake{"crun", []Candidate{two}, nil}}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Registry{engines: tt.engines}
			c, err := r.Find(context.Background(), "web")
			if !errors.Is(err, tt.want) || (err == nil) != (c != nil) {
				t.Fatalf("got %v, %v", c, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%q does not tell %q", err, tt.text)
			}
		})
	}
}

func TestNewRegistry(t *testing.T) {
	tests := []struct {
		runtime string
		want    string
		fails   bool
	}{
		{"", "runc", false},
		{"crun", "crun", false},
		{"/opt/runc-1.3/runc.amd64", "runc", false},
		{"youki", "", true},
	}
	for _, tt := range tests {
		r, err := NewRegistry(Choice{Runtime: tt.runtime})
		if tt.fails {
			if !errors.Is(err, ErrUnknownRuntime) {
				t.Errorf("%q: %v", tt.runtime, err)
			}
			continue
		}
		if err != nil || r.Engine("").Name() != tt.want {
			t.Errorf("%q: %v, %v", tt.runtime, r, err)
		}
	}
}

func TestTree(t *testing.T) {
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if _, err := Tree(pid); !errors.Is(err, ErrUnsupported) {
			t.Errorf("pid %d: %v", pid, err)
		}
	}
	if _, err := Tree(1 << 22); !errors.Is(err, ErrNotFound) {
		t.Errorf("no process: %v", err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	c, err := Tree(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	target, err := c.Target(context.Background())
	if err != nil || !target.Host || target.Init != cmd.Process.Pid {
		t.Errorf("got %+v, %v", target, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if s, err := c.Status(context.Background()); s != Stopped || err != nil {
		t.Errorf("after its end: %q, %v", s, err)
	}
	if parent, err := Tree(os.Getppid()); err == nil {
		if _, err := parent.Target(context.Background()); !errors.Is(err, ErrUnsupported) {
			t.Errorf("a tree with ourselves in it: %v", err)
		}
	}
}

package plugin

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/internal/timens"
)

// Status of a container, in the words of the OCI runtime specification.
type Status string

// The states of a container. Paused is not in the specification but in every
// runtime.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// Engine is a container runtime or a manager above one.
type Engine interface {
	// Name is the engine's name in messages and images: "runc", "crun"...
	Name() string
	// Find returns the containers that name may mean, in every place where the
	// engine keeps its state; none is no error.
	Find(ctx context.Context, name string) ([]Container, error)
	// List returns all containers of the engine, in every place where it keeps its
	// state.
	List(ctx context.Context) ([]Container, error)
	// Create has the engine make a container from a bundle, up to the point where
	// its init waits for Start. An id in use gives an error that is ErrExists.
	Create(ctx context.Context, s Spec) (Fresh, error)
}

// Candidate identifies a container among all of a host.
type Candidate struct {
	// Engine is the name of the engine, ID that of the container there and Root
	// the directory in which the engine keeps its state.
	Engine string
	ID     string
	Root   string
	// Name is the container's name where an engine has names beside ids.
	Name string
	// Pid is the host pid of the container's init, 0 if there is none.
	Pid int
	// Created is when the engine made it, zero if it does not tell.
	Created time.Time
}

// Called is the name by which people know the container: its name, or else its id.
func (c Candidate) Called() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// String names the candidate in messages.
func (c Candidate) String() string {
	if c.Root == "" {
		return fmt.Sprintf("%s %s", c.Engine, c.ID)
	}
	if c.Name != "" && c.Name != c.ID {
		return fmt.Sprintf("%s container %q (id %.12s, state in %s)", c.Engine, c.Name, c.ID, c.Root)
	}
	return fmt.Sprintf("%s container %q (state in %s)", c.Engine, c.ID, c.Root)
}

// wrapper is a container of a manager, which has a runtime's beneath it.
type wrapper interface {
	// beneath is the runtime's container, nil if there is none now.
	beneath() Container
}

// ender is a container whose engine watches over it: it must take part in the
// container's end, or it would take it for a failure and start it anew.
type ender interface {
	// Endable tells whether a checkpoint into the directory image may end the
	// container.
	Endable(image string) error
	// End has the engine end the container, whose tasks are all stopped by ptrace. It
	// returns when the kill has reached init; Destroy waits for the rest.
	End(ctx context.Context) error
}

// Container is one that an engine has, or a tree of tasks that none has.
type Container interface {
	// Candidate identifies it.
	Candidate() Candidate
	// Status tells its state now. A process that has taken over the pid of an
	// init that is gone counts as Stopped.
	Status(ctx context.Context) (Status, error)
	// Target resolves it for package checkpoint.
	Target(ctx context.Context) (checkpoint.Target, error)
	// Destroy removes what the engine keeps of it once its tasks are killed:
	// cgroups, state, and it runs the hooks of the end.
	Destroy(ctx context.Context) error
}

// Spec says which container to make.
type Spec struct {
	// ID of the new container, Bundle its directory.
	ID     string
	Bundle string
	// ConsoleSocket is the path of the socket that takes the master of the
	// container's terminal, "" without one.
	ConsoleSocket string
	// NoPivot, NoNewKeyring and SystemdCgroup are options of the runtimes.
	NoPivot       bool
	NoNewKeyring  bool
	SystemdCgroup bool
	// Clocks are how far those of the container are ahead of ours: it is made in a time
	// namespace if they are.
	Clocks timens.Offsets
	// Stdin, Stdout and Stderr are the container's; nil for /dev/null.
	Stdin, Stdout, Stderr *os.File

	// making is told of it, nil for nobody.
	making *making
}

// Fresh is a container that is created and not started.
type Fresh interface {
	Container
	// Start lets its init execute the container's process.
	Start(ctx context.Context) error
	// Kill destroys it whatever its state.
	Kill(ctx context.Context) error
}

package plugin

import (
	"context"

	"github.com/rethaw/rethaw/checkpoint"
)

// task is a container of an engine above containerd's shim.
type task struct {
	who    Candidate
	bundle string
	// under is the runtime's container, nil if there is none now.
	under Container
}

// Candidate implements Container.
func (t *task) Candidate() Candidate {
	who := t.who
	if t.under != nil {
		below := t.under.Candidate()
		who.Pid = below.Pid
		if who.Created.IsZero() {
			who.Created = below.Created
		}
	}
	return who
}

// beneath implements wrapper.
func (t *task) beneath() Container { return t.under }

// Status implements Container.
func (t *task) Status(ctx context.Context) (Status, error) {
	if t.under == nil {
		return Stopped, nil
	}
	return t.under.Status(ctx)
}

// Target implements Container. The shim's pipes, or its terminal, are the descriptors
// that the runtime has recorded.
func (t *task) Target(ctx context.Context) (checkpoint.Target, error) {
	if t.under == nil {
		return checkpoint.Target{}, &StateError{Candidate: t.who, Status: Stopped, Remedy: "only a running container can be checkpointed"}
	}
	target, err := t.under.Target(ctx)
	if err != nil {
		return target, err
	}
	target.Engine, target.Container, target.Root = t.who.Engine, t.who.Called(), t.who.Root
	target.Bundle = t.bundle
	return target, nil
}

// Endable implements ender: containerd and who is above it would see the end as a
// failure, and restart policies start a fresh program.
func (t *task) Endable(string) error { return notEnded(t.Candidate(), t.who.Engine) }

// End implements ender.
func (t *task) End(context.Context) error { return t.Endable("") }

// Destroy implements Container. What is left is the engine's to remove.
func (t *task) Destroy(context.Context) error { return nil }

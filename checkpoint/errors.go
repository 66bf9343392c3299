package checkpoint

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is what errors of objects that cannot be saved answer to.
var ErrUnsupported = errors.New("cannot be saved")

// Unsupported is an object that cannot be saved. It is found before anything is
// stopped.
type Unsupported struct {
	// PID is the task (in the container's numbers) and Comm its name.
	PID  int
	Comm string
	// Object names it: "fd 5 (socket:[123])", "mapping 7f00-8000 (/dev/kvm)".
	Object string
	// Reason says why, Remedy what can be done.
	Reason, Remedy string
}

func (u *Unsupported) Error() string {
	s := fmt.Sprintf("task %d (%s): %s: %s", u.PID, u.Comm, u.Object, u.Reason)
	if u.Remedy != "" {
		s += "; " + u.Remedy
	}
	return s
}

// Is answers to ErrUnsupported.
func (u *Unsupported) Is(target error) bool { return target == ErrUnsupported }

// RefusedError is a checkpoint that was refused by the preflight: nothing was
// stopped.
type RefusedError struct{ Problems []error }

func (e *RefusedError) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	lines = append(lines, fmt.Sprintf("%d object(s) cannot be saved, nothing was stopped:", len(e.Problems)))
	for _, p := range e.Problems {
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n  ")
}

// Unwrap gives the problems.
func (e *RefusedError) Unwrap() []error { return e.Problems }

// Error is a step of a checkpoint that failed for a task.
type Error struct {
	Op  string
	PID int
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s of task %d: %v", e.Op, e.PID, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

package restore

import (
	"errors"
	"fmt"
)

// ErrUnfit means that the image does not fit this machine, kernel or container.
var ErrUnfit = errors.New("image does not fit here")

// ErrPIDTaken means that a number of the tree belongs to somebody else: to another task of the host, or to one that came into the
// container while the tree was made.
var ErrPIDTaken = errors.New("pid is taken")

// ErrNotStarted means that the fresh container ended before its start.
var ErrNotStarted = errors.New("the container was not started")

// Error is a step of a restore that failed for a task or an object.
type Error struct {
	// Op is the step, Object what it is about ("task 7", "file /etc/x").
	Op, Object string
	Err        error
}

func (e *Error) Error() string { return fmt.Sprintf("%s of %s: %v", e.Op, e.Object, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func taskError(op string, t *task, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, fmt.Sprintf("task %d (%s)", t.rec.PID, t.rec.Comm), err}
}

package plugin

import (
	"errors"
	"fmt"
	"strings"
)

// What went wrong, for errors.Is.
var (
	// ErrNotFound: no engine has such a container.
	ErrNotFound = errors.New("no such container")
	// ErrAmbiguous: several containers have the name.
	ErrAmbiguous = errors.New("ambiguous name")
	// ErrState: the container is not in a state that allows the operation.
	ErrState = errors.New("wrong state")
	// ErrBusy: another rethaw works on the container.
	ErrBusy = errors.New("busy")
	// ErrExists: the id of the container to be made is taken.
	ErrExists = errors.New("container id in use")
	// ErrBundle: the bundle is not one or does not fit the image.
	ErrBundle = errors.New("unfit bundle")
	// ErrRuntime: the runtime's program is missing or failed.
	ErrRuntime = errors.New("runtime failed")
	// ErrUnknownRuntime: the name of a runtime that no engine answers to.
	ErrUnknownRuntime = errors.New("unknown runtime")
	// ErrUnsupported: the container is of a kind that cannot be handled.
	ErrUnsupported = errors.New("unsupported container")
)

// takenError tells that there is something where something is to be made.
type takenError string

// Error implements error.
func (e takenError) Error() string { return string(e) }

// Is makes the error an ErrExists.
func (e takenError) Is(target error) bool { return target == ErrExists }

// AmbiguousError lists the containers that a name may mean.
type AmbiguousError struct {
	Name       string
	Candidates []Candidate
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	names := make([]string, len(e.Candidates))
	for i, c := range e.Candidates {
		names[i] = c.String()
	}
	return fmt.Sprintf("%q may mean %s: choose with --runtime and --root",
		e.Name, strings.Join(names, " or "))
}

// Is makes the error an ErrAmbiguous.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// StateError tells that a container is in the wrong state.
type StateError struct {
	Candidate Candidate
	Status    Status
	// Remedy is what the user can do.
	Remedy string
}

// Error implements error.
func (e *StateError) Error() string {
	return fmt.Sprintf("%s is %s: %s", e.Candidate, e.Status, e.Remedy)
}

// Is makes the error an ErrState.
func (e *StateError) Is(target error) bool { return target == ErrState }

// BusyError tells who holds the lock of a container.
type BusyError struct {
	What string
	// Pid of the holder, 0 if it could not be read.
	Pid int
}

// Error implements error.
func (e *BusyError) Error() string {
	if e.Pid == 0 {
		return fmt.Sprintf("another rethaw is working on %s: wait for it to end", e.What)
	}
	return fmt.Sprintf("another rethaw (pid %d) is working on %s: wait for it to end", e.Pid, e.What)
}

// Is makes the error an ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// RuntimeError is a failure of a runtime's program.
type RuntimeError struct {
	// Program and Op are what was run: "runc", "create".
	Program, Op string
	// Message is the last that the program logged, "" if nothing.
	Message string
	Err     error
}

// Error implements error.
func (e *RuntimeError) Error() string {
	if e.Message != "" {
		return fmt.Sprintf("%s %s: %s (%v)", e.Program, e.Op, e.Message, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Program, e.Op, e.Err)
}

// Is makes the error an ErrRuntime.
func (e *RuntimeError) Is(target error) bool { return target == ErrRuntime }

// Unwrap returns the cause.
func (e *RuntimeError) Unwrap() error { return e.Err }

// BundleError tells why a bundle cannot take an image.
type BundleError struct {
	Bundle string
	// Reason says what is wrong and what to do.
	Reason string
	Err    error
}

// Error implements error.
func (e *BundleError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("bundle %s: %s: %v", e.Bundle, e.Reason, e.Err)
	}
	return fmt.Sprintf("bundle %s: %s", e.Bundle, e.Reason)
}

// Is makes the error an ErrBundle.
func (e *BundleError) Is(target error) bool { return target == ErrBundle }

// Unwrap returns the cause.
func (e *BundleError) Unwrap() error { return e.Err }

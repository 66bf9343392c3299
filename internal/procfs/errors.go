package procfs

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// maxQuoted bounds in bytes how much of a line that is not understood an error
// repeats.
const maxQuoted = 80

// ParseError tells that the text of a file of /proc is not what is expected.
type ParseError struct {
	// File is the name of the kind of file ("smaps", "fdinfo").
	File string
	// Line counts from 1; 0 stands for the file as a whole.
	Line int
	// Text is the start of the line.
	Text string
	// Reason says what is wrong with it.
	Reason string
}

// Error implements error.
func (e *ParseError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("parse %s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("parse %s: line %d: %q: %s", e.File, e.Line, e.Text, e.Reason)
}

// badLine makes a ParseError for one line.
func badLine(file string, number int, line []byte, reason string) error {
	return &ParseError{File: file, Line: number, Text: quotable(line), Reason: reason}
}

// badFile makes a ParseError for a whole file.
func badFile(file, reason string) error {
	return &ParseError{File: file, Reason: reason}
}

func quotable(line []byte) string {
	return string(line[:min(len(line), maxQuoted)])
}

// Error is a failure to read a file of /proc.
type Error struct {
	// Op is what was done: "open", "read", "readlink", "parse", "list".
	Op string
	// PID is the task, 0 for a file that belongs to none.
	PID int
	// File is the name below /proc/PID.
	File string
	// Err is the cause, an errno or a *ParseError.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Op, path(e.PID, e.File), e.Err)
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Gone tells whether err says that the task, thread or descriptor was not there
// (any more): ESRCH, or ENOENT of a file that every live one has. A file that
// this kernel does not have at all looks the same; compare with a task that is
// known to live if that matters.
func Gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist)
}

package image

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be wrong with an image; errors.Is tells them apart, errors.As to
// *Error gives the place.
var (
	// ErrNotImage is a directory or stream that is no image at all.
	ErrNotImage = errors.New("not a checkpoint image")
	// ErrTruncated is an image that ends too early.
	ErrTruncated = errors.New("image is cut off")
	// ErrCorrupt is an image whose bytes are not those that were written.
	ErrCorrupt = errors.New("image is damaged")
	// ErrVersion is an image that this version of the program cannot read.
	ErrVersion = errors.New("image is of another version")
	// ErrSealed is an image that has to be decrypted first.
	ErrSealed = errors.New("image is encrypted")
	// ErrNoRecord is a question for an object that the image does not have.
	ErrNoRecord = errors.New("no such record")
)

// What can stand in the way of a new image.
var (
	// ErrBusy is a directory that another writer is filling.
	ErrBusy = errors.New("another checkpoint is being written there")
	// ErrOccupied is a directory that holds something else than an image.
	ErrOccupied = errors.New("directory is in use for something else")
	// ErrClosed is the use of a writer after Commit or Abort, or a Put after
	// Seal.
	ErrClosed = errors.New("image is closed for writing")
)

// remedies tells what the user can do about each kind of bad image.
var remedies = map[error]string{
	ErrNotImage:  "name the directory that a checkpoint wrote",
	ErrTruncated: "copy the image again or take a new checkpoint",
	ErrCorrupt:   "use another copy or take a new checkpoint",
	ErrSealed:    "name the key that opens it with --identity",
	ErrVersion:   "use the rethaw that wrote it or a newer one",
}

// Error says what is wrong with an image and where.
type Error struct {
	// Kind is ErrNotImage, ErrTruncated, ErrCorrupt, ErrVersion or ErrSealed.
	Kind error
	// Path is the file or directory.
	Path string
	// Record is the number of the record in the file, counted from 0, and Offset
	// its place in bytes; -1 if the error is not about one.
	Record int
	Offset int64
	// Detail is the finding.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

// Error implements error: kind, place, finding, cause, remedy.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Path, e.Kind)
	if e.Record >= 0 {
		fmt.Fprintf(&b, ": record %d", e.Record)
		if e.Offset >= 0 {
			fmt.Fprintf(&b, " at offset %d", e.Offset)
		}
	} else if e.Offset >= 0 {
		fmt.Fprintf(&b, ": offset %d", e.Offset)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if remedy := remedies[e.Kind]; remedy != "" {
		b.WriteString(" (" + remedy + ")")
	}
	return b.String()
}

// Unwrap makes errors.Is see both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// bad makes an Error that is not about one record.
func bad(kind error, path, format string, args ...any) *Error {
	return &Error{Kind: kind, Path: path, Record: -1, Offset: -1, Detail: fmt.Sprintf(format, args...)}
}

// fullError is a lack of space, with what to do about it.
type fullError struct{ error }

func (e *fullError) Error() string {
	return e.error.Error() + " (free some space or choose a directory on another filesystem)"
}

func (e *fullError) Unwrap() error { return e.error }

// full adds the remedy to err, once, if it is a lack of space.
func full(err error) error {
	var known *fullError
	if errors.As(err, &known) || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return &fullError{err}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/hook"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/plugin"
	"github.com/rethaw/rethaw/restore"
)

// The exit codes of rethaw. A restore in the foreground exits with the status of the
// container instead.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitState       = 4
	exitUnsupported = 5
	exitImage       = 6
	exitEnvironment = 7
	exitBundle      = 8
	exitInterrupted = 130
)

// exitMeanings is the documented table.
func exitMeanings() []struct {
	code    int
	meaning string
} {
	return []struct {
		code    int
		meaning string
	}{
		{exitOK, "done"},
		{exitInternal, "failed for another reason; the message tells"},
		{exitUsage, "wrong options or arguments"},
		{exitNotFound, "no such container or process, or an ambiguous name"},
		{exitState, "wrong state: stopped, not started, in use by another rethaw, id, pid or file lock taken"},
		{exitUnsupported, "something in the container cannot be saved or restored (rethaw check lists all of it)"},
		{exitImage, "no image, a damaged one, one of another version, digest or key, or no place for a new one"},
		{exitEnvironment, "missing privilege, runtime, disk space or kernel feature"},
		{exitBundle, "the bundle is none or does not fit the image"},
		{exitInterrupted, "interrupted by SIGINT, SIGTERM or SIGHUP; nothing was changed"},
	}
}

// exitHelp renders the table.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:")
	for _, e := range exitMeanings() {
		fmt.Fprintf(&b, "\n  %3d  %s", e.code, e.meaning)
	}
	b.WriteString("\nrestore without --detach exits with the status of the container.")
	return b.String()
}

// errInterrupted is the cause of a context that a signal cancelled.
var errInterrupted = errors.New("interrupted")

// usageError is a wrong command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// codedError is an error whose exit code the verb knows.
type codedError struct {
	code int
	err  error
}

func (e codedError) Error() string { return e.err.Error() }
func (e codedError) Unwrap() error { return e.err }

// usage makes a usageError of a complaint about flags.
func usage(c *cobra.Command, err error) error {
	return usageError{fmt.Sprintf("%v (see %s --help)", err, c.CommandPath())}
}

// exitCodes maps kinds of errors to exit codes; the first that fits counts.
func exitCodes() []struct {
	is   error
	code int
} {
	return []struct {
		is   error
		code int
	}{
		{errInterrupted, exitInterrupted},
		{context.Canceled, exitInterrupted},
		{plugin.ErrNotFound, exitNotFound},
		{plugin.ErrAmbiguous, exitNotFound},
		{plugin.ErrState, exitState},
		{plugin.ErrBusy, exitState},
		{plugin.ErrExists, exitState},
		{restore.ErrPIDTaken, exitState},
		{restore.ErrLocked, exitState},
		{plugin.ErrBundle, exitBundle},
		{plugin.ErrTerminal, exitUsage},
		{plugin.ErrUnknownRuntime, exitUsage},
		{plugin.ErrRuntime, exitEnvironment},
		{plugin.ErrPrivilege, exitEnvironment},
		{hook.ErrAnnotation, exitUsage},
		{hook.ErrState, exitUsage},
		{hook.ErrConfig, exitBundle},
		{plugin.ErrUnsupported, exitUnsupported},
		{checkpoint.ErrUnsupported, exitUnsupported},
		{restore.ErrUnfit, exitUnsupported},
		{image.ErrNotImage, exitImage},
		{image.ErrTruncated, exitImage},
		{image.ErrCorrupt, exitImage},
		{image.ErrVersion, exitImage},
		{image.ErrSealed, exitImage},
		{image.ErrDigest, exitImage},
		{sealed.ErrLocked, exitImage},
		{sealed.ErrPlain, exitImage},
		{sealed.ErrForged, exitImage},
		{sealed.ErrKey, exitUsage},
		{image.ErrOccupied, exitImage},
		{plugin.ErrPlace, exitImage},
		{image.ErrBusy, exitState},
		{unix.ENOSPC, exitEnvironment},
		{unix.EDQUOT, exitEnvironment},
		{unix.EROFS, exitEnvironment},
		{unix.EMFILE, exitEnvironment},
		{fs.ErrPermission, exitEnvironment},
		{unix.ENOSYS, exitEnvironment},
	}
}

// exitCode returns the code for an error.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var coded codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	var wrong usageError
	if errors.As(err, &wrong) {
		return exitUsage
	}
	for _, e := range exitCodes() {
		if errors.Is(err, e.is) {
			return e.code
		}
	}
	return exitInternal
}

// report prints an error as one sentence on stderr, in the format of the log, and
// returns the exit code: status if there is no error.
func report(w io.Writer, log *logrus.Entry, status int, err error) int {
	if err == nil {
		return status
	}
	code := exitCode(err)
	if log != nil {
		if _, ok := log.Logger.Formatter.(*logrus.JSONFormatter); ok {
			log.WithField("exit", code).Error(err)
			return code
		}
	}
	text := err.Error()
	// What was refused is a list; everything else is one sentence.
	if refused := new(checkpoint.RefusedError); !errors.As(err, &refused) {
		text = strings.ReplaceAll(text, "\n", "; ")
	}
	printf(w, "rethaw: "+text)
	return code
}

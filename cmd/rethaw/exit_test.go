package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/plugin"
	"github.com/rethaw/rethaw/restore"
)

func TestExitCode(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"other", errors.New("x"), 1},
		{"usage", usageError{"x"}, 2},
		{"terminal", plugin.ErrTerminal, 2},
		{"not found", fmt.Errorf("x: %w", plugin.ErrNotFound), 3},
		{"ambiguous", &plugin.AmbiguousError{}, 3},
		{"state", &plugin.StateError{}, 4},
		{"busy", &plugin.BusyError{}, 4},
		{"locked", &restore.Error{Err: restore.ErrLocked}, 4},
		{"refused", &checkpoint.RefusedError{Problems: []error{&checkpoint.Unsupported{}}}, 5},
		{"image", &image.Error{Kind: image.ErrCorrupt}, 6},
		{"runtime", &plugin.RuntimeError{Err: fs.ErrNotExist}, 7},
		{"disk", &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}, 7},
		{"read-only", unix.EROFS, 7},
		{"privilege", plugin.ErrPrivilege, 7},
		{"bundle", &plugin.BundleError{}, 8},
		{"interrupted", fmt.Errorf("x: %w", errInterrupted), 130},
		{"cancelled with a remark", errors.Join(context.Canceled, plugin.ErrRuntime), 130},
		{"chosen by the verb", codedError{5, errors.New("x")}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	for _, e := range exitCodes() {
		if !strings.Contains(exitHelp(), fmt.Sprintf("\n  %3d  ", e.code)) {
			t.Errorf("exit code %d of %v is not documented", e.code, e.is)
		}
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if code := report(&out, nil, 42, nil); code != 42 || out.Len() != 0 {
		t.Errorf("no error: %d, %q", code, out.String())
	}
	if code := report(&out, nil, 42, errors.Join(errors.New("a"), plugin.ErrState)); code != 4 || out.String() != "rethaw: a; wrong state\n" {
		t.Errorf("text: %d, %q", code, out.String())
	}
	out.Reset()
	l := logrus.New()
	l.SetOutput(&out)
	l.SetFormatter(new(logrus.JSONFormatter))
	report(&out, logrus.NewEntry(l), 0, plugin.ErrState)
	if !strings.Contains(out.String(), `"exit":4`) {
		t.Errorf("json: %q", out.String())
	}
}

// Package timens puts programs into time namespaces (time_namespaces(7)), in which
// the clocks that count from the boot, CLOCK_MONOTONIC and CLOCK_BOOTTIME, are
// shifted.
//
// A process never enters another time namespace as it runs: unshare(2) makes one for
// its children only, and its own exec. So With runs a function on a thread of its own
// for which one is made, and what the function executes, a container's runtime,
// lives in it with all its descendants.
//
// Offsets can be set until the first process is in the namespace. They count from
// the clocks of the host, whichever namespace sets them.
package timens

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/rethaw/rethaw/internal/osthread"
	"golang.org/x/sys/unix"
)

// Offsets are what a namespace adds to the clocks of the host, in nanoseconds.
type Offsets struct {
	Monotonic, Boottime int64
}

// ErrMalformed is wrapped where timens_offsets does not look as in proc(5).
var ErrMalformed = errors.New("malformed")

// Of tells the offsets in which the children of a process live: its own, unless it has
// called unshare(2). Without time namespaces (Linux 5.6, CONFIG_TIME_NS) there are none.
func Of(pid int) (Offsets, error) {
	b, err := os.ReadFile(path(pid))
	if errors.Is(err, fs.ErrNotExist) {
		if _, missing := os.Stat(fmt.Sprintf("/proc/%d", pid)); missing == nil {
			return Offsets{}, nil
		}
	}
	if err != nil {
		return Offsets{}, err
	}
	return Parse(b)
}

// Seen tells how far the clocks of a process are ahead of ours.
func Seen(pid int) (Offsets, error) {
	theirs, err := Of(pid)
	if err != nil {
		return theirs, err
	}
	ours, err := Of(os.Getpid())
	return Offsets{theirs.Monotonic - ours.Monotonic, theirs.Boottime - ours.Boottime}, err
}

func path(pid int) string { return fmt.Sprintf("/proc/%d/timens_offsets", pid) }

// Parse reads the text of /proc/PID/timens_offsets: a line for each clock, with its name or
// number, seconds and nanoseconds.
func Parse(b []byte) (Offsets, error) {
	var o Offsets
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			return o, fmt.Errorf("timens_offsets: %w: %q", ErrMalformed, line)
		}
		seconds, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return o, fmt.Errorf("timens_offsets: %w: %w", ErrMalformed, err)
		}
		nanos, err := strconv.ParseInt(string(fields[2]), 10, 64)
		if err != nil {
			return o, fmt.Errorf("timens_offsets: %w: %w", ErrMalformed, err)
		}
		if limit := int64(1) << 33; seconds < -limit || seconds > limit || nanos < 0 || nanos >= int64(time.Second) {
			return o, fmt.Errorf("timens_offsets: %w: %q", ErrMalformed, line)
		}
		at := seconds*int64(time.Second) + nanos
		switch string(fields[0]) {
		case "monotonic", strconv.Itoa(unix.CLOCK_MONOTONIC):
			o.Monotonic = at
		case "boottime", strconv.Itoa(unix.CLOCK_BOOTTIME):
			o.Boottime = at
		}
	}
	return o, nil
}

// text is what the kernel wants to be written. The nanoseconds are never negative.
func (o Offsets) text() []byte {
	split := func(ns int64) (int64, int64) {
		seconds, nanos := ns/int64(time.Second), ns%int64(time.Second)
		if nanos < 0 {
			seconds, nanos = seconds-1, nanos+int64(time.Second)
		}
		return seconds, nanos
	}
	ms, mn := split(o.Monotonic)
	bs, bn := split(o.Boottime)
	return fmt.Appendf(nil, "%d %d %d\n%d %d %d\n", unix.CLOCK_MONOTONIC, ms, mn, unix.CLOCK_BOOTTIME, bs, bn)
}

// set sets the offsets of the namespace that the thread tid has made for its children.
// It needs CAP_SYS_TIME.
func (o Offsets) set(tid int) error {
	if err := os.WriteFile(path(tid), o.text(), 0); err != nil {
		return fmt.Errorf("set the clocks of a time namespace: %w", err)
	}
	return nil
}

// With calls f on a thread whose children live, if they execute a program, in a new time
// namespace whose clocks are so far ahead of ours. Offsets of zero need none. It needs
// CAP_SYS_ADMIN and CAP_SYS_TIME.
func With(ahead Offsets, f func() error) error {
	if ahead == (Offsets{}) {
		return f()
	}
	done := make(chan error, 1)
	go osthread.Run(func() { done <- with(ahead, f) })
	return <-done
}

func with(ahead Offsets, f func() error) error {
	ours, err := Of(os.Getpid())
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("make a time namespace: %w", err)
	}
	o := Offsets{ours.Monotonic + ahead.Monotonic, ours.Boottime + ahead.Boottime}
	if err := o.set(unix.Gettid()); err != nil {
		return err
	}
	return f()
}

// Set sets how far the clocks of the namespace that the thread tid has made for its
// children are ahead of ours.
func (o Offsets) Set(tid int) error {
	ours, err := Of(os.Getpid())
	if err != nil {
		return err
	}
	return Offsets{ours.Monotonic + o.Monotonic, ours.Boottime + o.Boottime}.set(tid)
}

package specs

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of what a record may hold. They are the kernel's own where it has some, and
// otherwise above anything that a program was seen to use: a record beyond them
// is not of a checkpoint, and would have a restore take memory or time without end.
const (
	// MaxPath is PATH_MAX, MaxComm TASK_COMM_LEN less the NUL, both in bytes.
	MaxPath = 4096
	MaxComm = 15
	// MaxFD bounds a descriptor's number: tables are as long as their highest one.
	MaxFD = 1 << 24
	// MaxPID is PID_MAX_LIMIT of 64-bit kernels.
	MaxPID = 1 << 22
	// MaxSignal is the highest number of a signal.
	MaxSignal = 64
	// MaxTime is KTIME_MAX in nanoseconds.
	MaxTime = 1<<63 - 1
	// MaxWatch and MaxTimer bound numbers that the kernel gives by counting.
	MaxWatch = 1 << 22
	MaxTimer = 1 << 20
	// MaxTerminal bounds the number of a pseudo-terminal (kernel.pty.max is 4096 unless
	// it was raised).
	MaxTerminal = 1 << 16
	// MaxGroups is NGROUPS_MAX.
	MaxGroups = 65536
	// MaxAddress is the end of user addresses (TASK_SIZE_MAX with five levels of page
	// tables), MaxObject the largest shared object, in bytes.
	MaxAddress = 1 << 56
	MaxObject  = 1 << 52
)

// first returns the first error of a list.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// each applies a check to every element and names the one that fails.
func each[T any](name string, list []T, check func(*T) error) error {
	for i := range list {
		if err := check(&list[i]); err != nil {
			return fmt.Errorf("%s %d: %w", name, i, err)
		}
	}
	return nil
}

// distinct says whether no two elements have the same key.
func distinct[T any, K comparable](name string, list []T, key func(*T) K) error {
	seen := make(map[K]bool, len(list))
	for i := range list {
		k := key(&list[i])
		if seen[k] {
			return fmt.Errorf("%s: %v is there twice", name, k)
		}
		seen[k] = true
	}
	return nil
}

type integer interface {
	~int | ~int32 | ~int64 | ~uint32 | ~uint64
}

// within says whether a number lies between two bounds, both included.
func within[T integer](name string, v, low, high T) error {
	if v < low || v > high {
		return fmt.Errorf("%s is %d, not %d to %d", name, v, low, high)
	}
	return nil
}

// atMost bounds a length.
func atMost(name string, n, limit int) error {
	if n > limit {
		return fmt.Errorf("%s has %d elements or bytes, more than %d", name, n, limit)
	}
	return nil
}

// sized says whether a length is one of those that are possible.
func sized(name string, n int, sizes ...int) error {
	for _, s := range sizes {
		if n == s {
			return nil
		}
	}
	return fmt.Errorf("%s has %d bytes, not %v", name, n, sizes)
}

// subset says whether only known bits are set.
func subset[T ~uint32 | ~uint64](name string, v, known T) error {
	if v&^known != 0 {
		return fmt.Errorf("%s has the unknown bits %#x", name, v&^known)
	}
	return nil
}

// oneOf says whether a word is one of those that are known.
func oneOf[T comparable](name string, v T, known ...T) error {
	for _, k := range known {
		if v == k {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, which is not known", name, v)
}

// text says whether a string can be handed to the kernel.
func text(name, s string, limit int) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s %.100q has a NUL in it", name, s)
	}
	return atMost(name, len(s), limit)
}

var (
	errRelative = errors.New("is not absolute")
	errClimbs   = errors.New(`climbs by ".."`)
	errEmpty    = errors.New("is empty")
)

// path says whether a string is a path as the kernel tells it: from the root, without
// "..".
func path(name, s string) error {
	if s == "" {
		return fmt.Errorf("%s %w", name, errEmpty)
	}
	if err := text(name, s, MaxPath); err != nil {
		return err
	}
	if s[0] != '/' {
		return fmt.Errorf("%s %.100q %w", name, s, errRelative)
	}
	if strings.Contains(s, "..") {
		for part := range strings.SplitSeq(s, "/") {
			if part == ".." {
				return fmt.Errorf("%s %.100q %w", name, s, errClimbs)
			}
		}
	}
	return nil
}

// anyPath is path for one that may be missing.
func anyPath(name, s string) error {
	if s == "" {
		return nil
	}
	return path(name, s)
}

// pid says whether a number can be that of a task; 0 stands for none.
func pid(name string, n int32) error { return within(name, n, 0, MaxPID) }

// signal says whether a number can be that of a signal; 0 stands for none.
func signal(name string, n int32) error { return within(name, n, 0, MaxSignal) }

package plugin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// cleanupPatience is how long podman's cleanup of an ended container is waited for.
const cleanupPatience = 10 * time.Second

// awaitCleanup returns when no conmon and no cleanup process of podman is left over from
// the last run of a container. conmon becomes `podman container cleanup` when the
// container has ended, and that may come late, after podman stop has done the work: a
// container that was made meanwhile, and is not yet started, would be cleaned up in the
// place of the old one.
func awaitCleanup(ctx context.Context, id string) error {
	for deadline := time.Now().Add(cleanupPatience); ; {
		left, err := watchers(id)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("podman is still cleaning up after container %.12s (pid %d): wait for it to end", id, left[0])
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watchers lists the processes that conmon is or has become for a container.
func watchers(id string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		if watches(data, id) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// watches tells by its command line whether a process is conmon for a container ("conmon
// ... -c ID ...") or its successor ("podman ... container cleanup ... ID"). Those of podman exec
// touch their session alone, and may stay for minutes.
func watches(cmdline []byte, id string) bool {
	args := bytes.Split(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0})
	at := slices.IndexFunc(args, func(arg []byte) bool { return string(arg) == id })
	if at < 1 || slices.ContainsFunc(args, func(arg []byte) bool { return bytes.HasPrefix(arg, []byte("--exec")) }) {
		return false
	}
	if filepath.Base(string(args[0])) == "conmon" {
		return string(args[at-1]) == "-c"
	}
	return slices.ContainsFunc(args[:at], func(arg []byte) bool { return string(arg) == "cleanup" })
}

package hook

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/plugin"
)

// ancestors is how far up the runtime may be: a hook may be called through a script.
const ancestors = 6

// caller finds the runtime that runs a hook, among the ancestors from pid on, and the state
// directory with which that was called: by both the agent finds the container again.
func caller(pid int) (program, root string, err error) {
	var seen []string
	for range ancestors {
		stat, err := procfs.ReadStat(pid)
		if err != nil {
			break
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			break
		}
		args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		program, known := programOf(pid, args[0])
		if !known {
			seen = append(seen, program)
			pid = int(stat.PPID)
			continue
		}
		root, err := absolute(pid, stateRoot(args))
		return program, root, err
	}
	return "", "", fmt.Errorf("%w: the hook was called by %s", plugin.ErrUnknownRuntime, strings.Join(seen, ", which was called by "))
}

// programOf is the path of the runtime that a process executes, or else of what it does.
// Runtimes execute copies of themselves, which a container cannot overwrite and which have no
// path: then the name counts by which it was called.
func programOf(pid int, name string) (path string, known bool) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !filepath.IsAbs(exe) || strings.HasPrefix(exe, "/memfd:") || strings.HasSuffix(exe, " (deleted)") {
		exe = name
	}
	for _, path := range []string{exe, name} {
		if _, err := plugin.NewRegistry(plugin.Choice{Runtime: path}); err == nil && path != "" {
			return path, true
		}
	}
	return exe, false
}

// absolute makes a path absolute that a process was called with.
func absolute(pid int, path string) (string, error) {
	if path == "" || filepath.IsAbs(path) {
		return path, nil
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return filepath.Join(cwd, path), err
}

// stateRoot takes --root out of the command line of a runtime: `runc --root R create
// ...`, `crun --root=R create ...`. "" means the default.
func stateRoot(args []string) string {
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if name != "--root" && name != "-root" {
			continue
		}
		if joined {
			return value
		}
		if i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

package hook

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rethaw/rethaw/plugin"
)

// caller finds the runtime that runs a hook, which is its parent, and the state directory
// with which that was called: by both the agent finds the container again.
func caller(pid int) (program, root string, err error) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "", "", fmt.Errorf("finding the runtime that called the hook: %w", err)
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", "", fmt.Errorf("finding the runtime that called the hook: %w", err)
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	if _, err := plugin.NewRegistry(plugin.Choice{Runtime: exe}); err != nil {
		return "", "", fmt.Errorf("the hook was called by %s: %w", exe, err)
	}
	root = stateRoot(args)
	if root != "" && !filepath.IsAbs(root) {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err != nil {
			return "", "", err
		}
		root = filepath.Join(cwd, root)
	}
	return exe, root, nil
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

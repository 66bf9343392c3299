package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Traces lists what the host shows of the container: its cgroups, the mounts of ours that name its
// directory, the files beside its bundle and beside its state, and processes of rethaw that work for it. Two lists of a
// container in the same state are equal, unless something was left behind.
func (c *Container) Traces() []string {
	c.t.Helper()
	found, err := cgroups(c.cgroup)
	must(c.t, err, "find cgroups")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(c.t, err, "read mounts")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.dir+"/") {
			found = append(found, "mount: "+line)
		}
	}
	for _, dir := range []string{c.dir, c.Bundle, c.Root, filepath.Join(c.Root, c.ID)} {
		entries, err := os.ReadDir(dir)
		must(c.t, err, "list files")
		for _, e := range entries {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	found = append(found, c.helpers()...)
	slices.Sort(found)
	return found
}

// helpers are the processes of the rethaw under test whose arguments name the container.
func (c *Container) helpers() []string {
	var found []string
	id := regexp.MustCompile(regexp.QuoteMeta(c.ID) + `($|[^0-9])`)
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(c.t, err, "list processes")
	for _, path := range commands {
		text, err := os.ReadFile(path)
		program, _, _ := bytes.Cut(text, []byte{0})
		if err == nil && string(program) == c.rig.Rethaw && id.Match(text) {
			found = append(found, fmt.Sprintf("process: %q", text))
		}
	}
	return found
}

// Resident is the memory of the container's tasks (VmRSS of proc(5)) in bytes.
func (c *Container) Resident() int64 {
	c.t.Helper()
	var sum int64
	for _, pid := range c.Tasks() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), "VmRSS:")
		var kilobytes int64
		if _, err := fmt.Sscan(after, &kilobytes); err == nil {
			sum += kilobytes << 10
		}
	}
	return sum
}

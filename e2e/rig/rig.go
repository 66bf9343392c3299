package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// base holds the run directories and the cache. It is on a disk rather than in
// /tmp, which may be a tmpfs: the speed of a dump is part of what is tested.
const base = "/var/tmp/rethaw-e2e"

// Rig is one test process's place to make containers in.
type Rig struct {
	Dir     string // of this run, on the host
	Cache   string // built programs, kept from run to run
	Source  string // the repository
	Rethaw  string // the program under test; empty if it does not build yet
	Runtime string // name of the runtime, runc unless RETHAW_E2E_RUNTIME says other
	tag     string // in the names of cgroups

	mu      sync.Mutex
	counter int
}

// Open makes the run directory, sweeps what dead runs left and builds rethaw.
// It needs root.
func Open() (*Rig, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("e2e: containers need root")
	}
	source, err := findSource()
	if err != nil {
		return nil, err
	}
	tag, err := owner(os.Getpid())
	if err != nil {
		return nil, err
	}
	r := &Rig{
		Dir:     filepath.Join(base, tag),
		Cache:   filepath.Join(base, "cache"),
		Source:  source,
		Runtime: "runc",
		tag:     tag,
	}
	if name := os.Getenv("RETHAW_E2E_RUNTIME"); name != "" {
		r.Runtime = name
	}
	if _, err := exec.LookPath(r.Runtime); err != nil {
		return nil, fmt.Errorf("e2e: runtime: %w", err)
	}
	for _, dir := range []string{r.Dir, r.Cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := Sweep(r.Runtime); err != nil {
		return nil, err
	}
	r.Rethaw, err = r.buildRethaw()
	return r, err
}

// Close removes the run directory and whatever is left in it.
func (r *Rig) Close() error { return sweepRun(r.Runtime, r.Dir) }

// next numbers the containers of a run. Numbers keep paths short: a unix socket
// has 107 bytes for its path.
func (r *Rig) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counter++
	return "c" + strconv.Itoa(r.counter)
}

// owner names a process so that the name does not fit a later process with the
// same pid: pid and start time in clock ticks (proc(5), stat field 22).
func owner(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("e2e: /proc/%d/stat: cannot read %q", pid, stat)
	}
	return fmt.Sprintf("%d-%s", pid, fields[19]), nil
}

// findSource walks up to the directory of go.mod.
func findSource() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("e2e: not inside the repository: no go.mod above")
}

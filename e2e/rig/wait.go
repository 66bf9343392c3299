package rig

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Eventually polls until ok says yes and fails the test after timeout.
func Eventually(t TB, timeout time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", timeout, what)
		}
	}
}

// Tasks returns the pids, on the host, of all processes in the container's
// cgroup.
func (c *Container) Tasks() []int {
	var pids []int
	for _, dir := range []string{"/sys/fs/cgroup/freezer", "/sys/fs/cgroup"} {
		text, err := os.ReadFile(filepath.Join(dir, c.cgroup, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		break
	}
	return pids
}

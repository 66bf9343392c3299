package rig

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// PeakMemory runs a verb of rethaw on this container and returns the most memory
// that rethaw had, in bytes. It looks at VmHWM (proc(5)), which only grows, as long as
// there is a process: what wait4(2) tells counts from the parent's memory on.
func (c *Container) PeakMemory(verb string, args ...string) int64 {
	c.t.Helper()
	var more []string
	var files [3]*os.File
	if verb == "restore" {
		files, more = c.OpenStdio()
	}
	cmd := exec.Command(c.rig.Rethaw, append(append(c.RethawArgs(verb, args...), more...), c.ID)...)
	if files[0] != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	}
	must(c.t, cmd.Start(), "start rethaw")
	peak := make(chan int64)
	go func() { peak <- Peak(cmd.Process.Pid) }()
	err := cmd.Wait()
	bytes := <-peak
	if files[0] != nil {
		c.mu.Lock()
		c.stdio.started()
		c.mu.Unlock()
	}
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", cmd, err, c.Output())
	}
	return bytes
}

// Peak follows a process to its end and returns the most memory that it had, in bytes.
func Peak(pid int) (bytes int64) {
	for {
		now, ok := highWater(pid)
		if !ok {
			return bytes
		}
		bytes = max(bytes, now)
		time.Sleep(200 * time.Microsecond)
	}
}

// highWater returns VmHWM of a process that has memory still.
func highWater(pid int) (bytes int64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, after, found := strings.Cut(string(text), "VmHWM:")
	if !found {
		return 0, false
	}
	var kilobytes int64
	_, err = fmt.Sscan(after, &kilobytes)
	return kilobytes << 10, err == nil
}

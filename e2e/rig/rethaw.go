package rig

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// RethawArgs returns a verb of rethaw with the flags that name this container's
// runtime.
func (c *Container) RethawArgs(verb string, args ...string) []string {
	return append([]string{verb, "--runtime", c.rig.Runtime, "--root", c.Root}, args...)
}

// TryRethaw runs a verb of rethaw that leaves its streams alone and returns what
// became of it.
func (c *Container) TryRethaw(verb string, args ...string) Result {
	return c.rig.command(c.rig.Rethaw, c.RethawArgs(verb, args...)...)
}

// Checkpoint writes Image, or Stream, and fails the test if that fails.
func (c *Container) Checkpoint(args ...string) Result {
	c.t.Helper()
	to := []string{"--image", c.Image}
	if c.Stream != "" {
		to = []string{"--export", c.Stream}
	}
	name, args := c.spared(c.rig.Rethaw, c.RethawArgs("checkpoint", append(append(to, args...), c.ID)...))
	result := c.rig.command(name, args...)
	if result.Code != 0 {
		c.t.Fatalf("%v", result)
	}
	return result
}

// Restore makes the container anew out of Image or Stream, detached, with fresh streams.
func (c *Container) Restore(args ...string) Result {
	c.t.Helper()
	from := []string{"--image", c.Image}
	if c.Stream != "" {
		from = []string{"--import", c.Stream}
	}
	args = append(append([]string{"--detach", "--bundle", c.Bundle}, from...), args...)
	name, args := c.spared(c.rig.Rethaw, c.RethawArgs("restore", args...))
	return c.start(name, args...)
}

// spared has a command find no place for temporary files if the container goes through
// a stream, which needs none.
func (c *Container) spared(name string, args []string) (string, []string) {
	if c.Stream == "" {
		return name, args
	}
	return "/usr/bin/env", append([]string{"TMPDIR=/nonexistent", name}, args...)
}

// Stats are the figures of --print-stats that the tests and the benchmark look
// at. Times are in microseconds.
type Stats struct {
	Freezing     int64 `json:"freezing_time"`
	Frozen       int64 `json:"frozen_time"`
	Memory       int64 `json:"memdump_time"`
	Write        int64 `json:"memwrite_time"`
	Total        int64 `json:"total_time"`
	PagesScanned int64 `json:"pages_scanned"`
	PagesWritten int64 `json:"pages_written"`
	PagesZero    int64 `json:"pages_zero"`
}

// CheckpointStats is Checkpoint with --print-stats.
func (c *Container) CheckpointStats(args ...string) (Result, Stats) {
	c.t.Helper()
	result := c.Checkpoint(append([]string{"--print-stats"}, args...)...)
	var stats Stats
	must(c.t, json.Unmarshal([]byte(result.Stdout), &stats), "parse --print-stats")
	return result, stats
}

// RuntimeCommand runs the runtime with the streams of a new container: create, as
// the measure of restore.
func (c *Container) RuntimeCommand(args ...string) Result {
	c.t.Helper()
	return c.start(c.rig.Runtime, append([]string{"--root", c.Root}, args...)...)
}

// ImageSize returns the bytes of the image's files.
func (c *Container) ImageSize() int64 {
	var sum int64
	entries, err := os.ReadDir(c.Image)
	must(c.t, err, "read image")
	for _, entry := range entries {
		if info, err := os.Stat(filepath.Join(c.Image, entry.Name())); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// Verify has rethaw check an image.
func (c *Container) Verify(dir string) Result { return c.rig.command(c.rig.Rethaw, "verify", dir) }

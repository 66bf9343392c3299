package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// inCgroup makes an empty cgroup in the hierarchy that want chooses, runs f in it, and
// removes it.
func inCgroup(want func(*mountinfo.Info) bool, f func(dir string) error) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		found := want(m)
		return !found, found
	})
	if err != nil {
		return wrap("reading mountinfo", err)
	}
	if len(mounts) == 0 {
		return absent("no such cgroup hierarchy is mounted")
	}
	dir, err := os.MkdirTemp(mounts[0].Mountpoint, "rethaw-probe-*")
	if err != nil {
		return wrap("making a cgroup", err)
	}
	return errors.Join(f(dir), wrap("removing a cgroup", os.Remove(dir)))
}

// isV1Freezer chooses the hierarchy with the freezer of version 1.
func isV1Freezer(m *mountinfo.Info) bool {
	return m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), "freezer")
}

// isV2 chooses the unified hierarchy.
func isV2(m *mountinfo.Info) bool { return m.FSType == "cgroup2" }

// tryFreezerV1 freezes an empty cgroup.
func tryFreezerV1() error {
	return inCgroup(isV1Freezer, func(dir string) error {
		return freeze(filepath.Join(dir, "freezer.state"), "FROZEN", "THAWED")
	})
}

// tryFreezerV2 freezes an empty cgroup.
func tryFreezerV2() error {
	return inCgroup(isV2, func(dir string) error {
		return freeze(filepath.Join(dir, "cgroup.freeze"), "1", "0")
	})
}

// freeze writes on into a file of a freezer, reads it back and writes off.
func freeze(path, on, off string) error {
	if err := write(path, on); err != nil {
		return missing(err, os.ErrNotExist)
	}
	state, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := write(path, off); err != nil {
		return err
	}
	if got := strings.TrimSpace(string(state)); got != on {
		return fmt.Errorf("%s says %q after %q was written", filepath.Base(path), got, on)
	}
	return nil
}

// tryCgroupKill kills the tasks of an empty cgroup.
func tryCgroupKill() error {
	return inCgroup(isV2, func(dir string) error {
		return missing(write(filepath.Join(dir, "cgroup.kill"), "1"), os.ErrNotExist)
	})
}

// write writes to a file that is there already.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

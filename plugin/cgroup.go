package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/cgroups"
)

// cgroupDirs puts directories of cgroups in the order that checkpoint.Target asks for:
// the one with a freezer first. Ones that do not exist and duplicates are left out.
// The second result is the one with the freezer, "" if none has.
func cgroupDirs(dirs []string) ([]string, string) {
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		info, err := os.Stat(dir)
		return err != nil || !info.IsDir()
	})
	// A v1 freezer wins over the v2 directory of a hybrid host: it is the one that
	// runtimes there use, so that "paused" is told by it.
	for _, file := range []string{"freezer.state", "cgroup.freeze"} {
		for i, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				first := dirs[i]
				dirs = slices.Insert(slices.Delete(dirs, i, i+1), 0, first)
				return dirs, first
			}
		}
	}
	return dirs, ""
}

// hierarchies returns the mount points of all cgroup hierarchies on this host by the
// name that proc_pid_cgroup(5) shows; "" is that of version 2.
func hierarchies() (map[string]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, err
	}
	points := make(map[string]string)
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			if _, ok := points[""]; !ok {
				points[""] = m.Mountpoint
			}
			continue
		}
		for _, option := range strings.Split(m.VFSOptions, ",") {
			if _, ok := points[option]; !ok {
				points[option] = m.Mountpoint
			}
		}
	}
	return points, nil
}

// cgroupsOf returns the cgroup directories in which a task is.
func cgroupsOf(pid string) ([]string, error) {
	paths, err := cgroups.ParseCgroupFile(filepath.Join("/proc", pid, "cgroup"))
	if err != nil {
		return nil, err
	}
	points, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for name, path := range paths {
		if point, ok := points[name]; ok {
			dirs = append(dirs, filepath.Join(point, path))
		}
	}
	return dirs, nil
}

// frozen tells whether the freezer of a cgroup directory is on. "" and what cannot be
// read count as not frozen.
func frozen(dir string) bool {
	if dir == "" {
		return false
	}
	if data, err := os.ReadFile(filepath.Join(dir, "freezer.state")); err == nil {
		return strings.TrimSpace(string(data)) != "THAWED"
	}
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
	return err == nil && strings.TrimSpace(string(data)) == "1"
}

// thaw turns a freezer off: what was killed while frozen cannot end before that.
func thaw(dir string) error {
	if !frozen(dir) {
		return nil
	}
	return setFreezer(dir, "THAWED", "0")
}

// freeze turns a freezer on.
func freeze(dir string) error { return setFreezer(dir, "FROZEN", "1") }

// setFreezer writes the word of the first or the second version of cgroups.
func setFreezer(dir, first, second string) error {
	for _, f := range []struct{ file, word string }{{"freezer.state", first}, {"cgroup.freeze", second}} {
		path := filepath.Join(dir, f.file)
		if _, err := os.Stat(path); err == nil {
			return os.WriteFile(path, []byte(f.word), 0)
		}
	}
	return nil
}

package rig

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cgroupPrefix begins the names of all cgroups that the rig makes.
const cgroupPrefix = "rethaw-e2e-"

// Sweep removes the run directories whose process is dead, with the containers,
// mounts and cgroups that belong to them.
func Sweep(runtime string) error {
	runs, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, run := range runs {
		number, _, ok := strings.Cut(run.Name(), "-")
		pid, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		if tag, err := owner(pid); err == nil && tag == run.Name() {
			continue
		}
		if err := sweepRun(runtime, filepath.Join(base, run.Name())); err != nil {
			return err
		}
	}
	return nil
}

// sweepRun takes one run directory away.
func sweepRun(runtime, dir string) error {
	states, err := filepath.Glob(filepath.Join(dir, "*", "root", "*"))
	if err != nil {
		return err
	}
	for _, state := range states {
		// A state that the runtime cannot delete dies with its cgroup below.
		_ = exec.Command(runtime, "--root", filepath.Dir(state), "delete", "--force", filepath.Base(state)).Run()
	}
	if err := killCgroups(cgroupPrefix + filepath.Base(dir)); err != nil {
		return err
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// unmountBelow takes away all mounts below a directory, the last one first.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	slices.Reverse(mounts)
	for _, mount := range mounts {
		if err := unix.Unmount(mount.Mountpoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return &fs.PathError{Op: "unmount", Path: mount.Mountpoint, Err: err}
		}
	}
	return nil
}

// cgroups are the directories, in every hierarchy, of the cgroups whose name is this or begins with it: not those
// with another number, "c28" for "c2".
func cgroups(name string) ([]string, error) {
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + name + "*")
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, slices.DeleteFunc(found, func(dir string) bool { return !named(filepath.Base(dir), name) })...)
	}
	return dirs, nil
}

func named(base, name string) bool {
	rest, ok := strings.CutPrefix(base, name)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// killCgroups kills every task in the cgroups of a name, and removes them.
func killCgroups(name string) error {
	dirs, err := cgroups(name)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		dirs = slices.DeleteFunc(dirs, func(dir string) bool {
			killCgroup(dir)
			err := os.Remove(dir)
			if errors.Is(err, unix.ENOTEMPTY) {
				// No cgroup, but what crun took for the place of one where
				// the hierarchy is not mounted.
				err = os.RemoveAll(dir)
			}
			return err == nil || errors.Is(err, fs.ErrNotExist)
		})
		if len(dirs) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return &fs.PathError{Op: "remove cgroup", Path: dirs[0], Err: unix.EBUSY}
		}
	}
}

// killCgroup thaws one cgroup and its children and kills what is inside. A task
// in a frozen v1 cgroup does not die before it is thawed.
func killCgroup(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0)
		_ = os.WriteFile(filepath.Join(path, "cgroup.freeze"), []byte("0"), 0)
		procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for _, field := range strings.Fields(string(procs)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		if path != dir {
			_ = os.Remove(path)
		}
		return nil
	})
}

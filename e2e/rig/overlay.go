package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CopyRootfs gives the container the root filesystem in dir, instead of its own.
func (c *Container) CopyRootfs(dir string) {
	c.t.Helper()
	must(c.t, os.RemoveAll(c.Rootfs), "remove rootfs")
	copyTree(c.t, dir, c.Rootfs)
}

// KeepBase makes a copy of the root filesystem as it is now, with all attributes.
func (c *Container) KeepBase() string {
	c.t.Helper()
	base := filepath.Join(c.dir, "base")
	copyTree(c.t, c.Rootfs, base)
	return base
}

// MountOverlay makes the root filesystem an overlay above what it was. The error says why that cannot
// be done here.
func (c *Container) MountOverlay() error {
	c.t.Helper()
	lower := filepath.Join(c.dir, "lower")
	must(c.t, os.Rename(c.Rootfs, lower), "move rootfs")
	options := "lowerdir=" + lower
	for _, sub := range []string{"upper", "work"} {
		dir := filepath.Join(c.dir, sub)
		must(c.t, os.Mkdir(dir, 0o755), "make "+sub)
		options += "," + sub + "dir=" + dir
	}
	must(c.t, os.Mkdir(c.Rootfs, 0o755), "make rootfs")
	if err := unix.Mount("overlay", c.Rootfs, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount an overlay: %w", err)
	}
	return nil
}

func copyTree(t TB, from, to string) {
	t.Helper()
	if said, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, said)
	}
}

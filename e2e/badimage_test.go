package e2e

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// checkpointed makes a container and its image, and leaves the image alone.
func checkpointed(t *testing.T, config rig.Config) *rig.Container {
	t.Helper()
	c := idle(t, config)
	c.Run()
	c.Checkpoint()
	c.AssertGone()
	return c
}

func tryRestore(c *rig.Container) rig.Result { return tryRestoreIn(c, c.Bundle) }

func tryRestoreIn(c *rig.Container, bundle string) rig.Result {
	return c.TryRethaw("restore", "--detach", "--bundle", bundle, "--image", c.Image, c.ID)
}

// TestBadImage: no image, half an image, a damaged one, one from the future. Nothing
// is made, and with the image as it was, all is well.
func TestBadImage(t *testing.T) {
	t.Parallel()
	c := checkpointed(t, rig.Config{})
	file := filepath.Join(c.Image, "image.rt")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name string
		text func() []byte
	}{
		{"empty", func() []byte { return nil }},
		{"something else", func() []byte { return []byte("#!/bin/sh\n") }},
		{"truncated", func() []byte { return whole[:len(whole)/2] }},
		{"without its end", func() []byte { return whole[:len(whole)-1] }},
		{"damaged", func() []byte { return flip(whole, len(whole)/2) }},
		// After the magic of 8 bytes comes the format's version.
		{"newer", func() []byte { return flip(whole, 8) }},
	} {
		if err := os.WriteFile(file, bad.text(), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s", bad.name, tryRestore(c).Stderr)
		refused(t, tryRestore(c), exitImage, c.Image)
		c.AssertGone()
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(t, tryRestore(c), exitImage, c.Image)
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Restore()
}

// flip returns a copy with one byte changed.
func flip(text []byte, at int) []byte {
	other := append([]byte(nil), text...)
	other[at] ^= 0x55
	return other
}

// TestBadBundle: a bundle that is none, or lacks what the image needs.
func TestBadBundle(t *testing.T) {
	t.Parallel()
	extra := t.TempDir()
	c := checkpointed(t, rig.Config{Mounts: []specs.Mount{rig.Bind(extra, "/extra")}})
	elsewhere := t.TempDir()
	refused(t, tryRestoreIn(c, elsewhere), exitBundle, elsewhere)

	mounts := []specs.Mount(nil)
	c.EditSpec(func(spec *specs.Spec) {
		mounts = append(mounts, spec.Mounts...)
		spec.Mounts = spec.Mounts[:len(spec.Mounts)-1]
	})
	refused(t, tryRestore(c), exitBundle, "/extra")
	c.AssertGone()
	c.EditSpec(func(spec *specs.Spec) { spec.Mounts = mounts })

	// Another rootfs: the program that runs is not in it.
	busybox := filepath.Join(c.Rootfs, "bin", "busybox")
	if err := os.Rename(busybox, busybox+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(busybox, []byte("other"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, tryRestore(c), exitBundle, "/bin/busybox")
	c.AssertGone()
	if err := os.Rename(busybox+".away", busybox); err != nil {
		t.Fatal(err)
	}
	c.Restore()
}

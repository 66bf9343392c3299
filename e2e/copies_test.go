package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// copies is how many containers are restored from one image at once.
const copies = 20

// fingerprint is what of an image's files shows that somebody wrote to them.
func fingerprint(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	prints := make(map[string]string)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		prints[e.Name()] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), sha256.Sum256(data))
	}
	return prints
}

// TestCopies restores twenty containers from one image at the same time, each from a bundle of its
// own, beside the original that runs on. Each is the checkpointed one from its own
// point of view, and the image is only read.
func TestCopies(t *testing.T) {
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	r := theRig(t)
	original := r.RunProgram(t, "threads", rig.Config{})
	original.Check("before")
	original.Checkpoint("--leave-running")
	before := fingerprint(t, original.Image)

	var made [copies]*rig.Program
	for i := range made {
		made[i] = r.NewProgram(t, "threads", rig.Config{})
		made[i].Follow(&original.Talk)
	}
	var wait sync.WaitGroup
	for _, c := range made {
		wait.Go(func() { c.Restore("--image", original.Image) })
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	original.Check("beside its copies")
	pids := make(map[int]bool)
	for _, c := range made {
		c.Check("a copy")
		pids[c.Pid()] = true
	}
	if len(pids) != copies {
		t.Errorf("%d copies have %d inits", copies, len(pids))
	}
	after := fingerprint(t, original.Image)
	for name, print := range before {
		if after[name] != print {
			t.Errorf("%s of the image was %s and is %s", name, print, after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("the image had %d files and has %d", len(before), len(after))
	}
}

// TestCopiesOfOneBundle restores several containers from one bundle, which share its root
// filesystem.
func TestCopiesOfOneBundle(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	runIdle(t, c)
	ok(t, c.TryRethaw("checkpoint", "--leave-running", "--image", c.Image, c.ID))
	var wait sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprintf("%s-%d", c.ID, i)
		t.Cleanup(func() { c.Runtime("delete", "--force", name) })
		wait.Go(func() {
			r := c.TryRethaw("restore", "--detach", "--bundle", c.Bundle, "--image", c.Image, "--name", name)
			if r.Code != 0 {
				t.Errorf("%v", r)
			}
		})
	}
	wait.Wait()
	for i := range 4 {
		if r := c.Runtime("exec", fmt.Sprintf("%s-%d", c.ID, i), "/bin/true"); r.Code != 0 {
			t.Errorf("%v", r)
		}
	}
}

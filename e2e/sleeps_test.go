package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// TestSleepsLeft looks into images for what is left of sleeps that have gone on for seconds. Programs would notice only
// that they sleep longer than they asked for, as any sleep may. The sleeps are those of poll(2), which writes nowhere what is
// left when it is interrupted.
func TestSleepsLeft(t *testing.T) {
	t.Parallel()
	const sleeps, length, slack = 12, 3600 * time.Second, time.Second
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c",
		fmt.Sprintf("mkfifo /tmp/quiet; for i in $(seq %d); do (read -t %d x <>/tmp/quiet) & done; echo >/state/ready; wait", sleeps, length/time.Second)}})
	c.Run()
	awaitFile(t, c, "ready")
	rig.Eventually(t, startTimeout, "the sleeps", func() bool { return len(c.Tasks()) == 1+sleeps })
	begun := time.Now()
	look := func(args ...string) {
		t.Helper()
		time.Sleep(3 * time.Second)
		before := time.Since(begun)
		if !dryRun() {
			c.Checkpoint(args...)
			asleep := time.Since(begun)
			for _, left := range sleepsIn(t, c.Image) {
				if left > length-before+slack || left < length-asleep-slack {
					t.Errorf("after %v, of %v of sleep %v are left", asleep, length, left)
				}
			}
			if n := len(sleepsIn(t, c.Image)); n != sleeps {
				t.Errorf("%d of %d sleeps are in the image", n, sleeps)
			}
		}
	}
	look("-R")
	look("-R") // now they are in restart_syscall(2)
	look()
	if !dryRun() {
		ended := time.Now()
		c.Restore()
		begun = begun.Add(time.Since(ended))
	}
	look("-R")
}

// sleepsIn returns what is left of all sleeps in an image.
func sleepsIn(t *testing.T, dir string) (left []time.Duration) {
	t.Helper()
	r, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, thread := range image.Each[*specs.Thread](r) {
		if thread.Sleep != nil {
			left = append(left, time.Duration(thread.Sleep.Left))
		}
	}
	return left
}

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestContainerd: a container of containerd is found, checked and saved while it goes on, and
// never ended; its image comes back to life in a container of runc.
func TestContainerd(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	r := theRig(t)
	d, err := r.Containerd(t)
	if err != nil {
		t.Skipf("no containerd: %v", err)
	}
	id := fmt.Sprintf("rethaw-e2e-%d", os.Getpid())
	base := filepath.Join(t.TempDir(), "base")
	if said, err := exec.Command("cp", "-a", d.Rootfs, base).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, said)
	}
	if got := d.Run(id, nil, "/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done"); got.Code != 0 {
		t.Skipf("containerd can run no container here: %v", got)
	}
	count := func(rootfs string) int {
		text, err := os.ReadFile(filepath.Join(rootfs, "count"))
		if err != nil {
			return 0
		}
		n, _ := strconv.Atoi(string(text[:max(len(text)-1, 0)]))
		return n
	}
	grows := func(rootfs, when string) {
		t.Helper()
		before := count(rootfs)
		rig.Eventually(t, 10*time.Second, "the count to go on "+when, func() bool { return count(rootfs) > before })
	}
	grows(d.Rootfs, "at first")
	image := filepath.Join(t.TempDir(), "image")
	ok(t, d.Rethaw("check", id))
	refused(t, d.Rethaw("checkpoint", "--image", image, id), exitUnsupported, id, "containerd", "--leave-running")
	refused(t, d.Rethaw("checkpoint", "--leave-running", id), exitUnsupported, id, "--image")
	refused(t, d.Rethaw("restore", "--runtime", "containerd", "--image", image, id), exitImage)
	ok(t, d.Rethaw("checkpoint", "--leave-running", "--image", image, id))
	export := filepath.Join(t.TempDir(), "export")
	ok(t, d.Rethaw("checkpoint", "--leave-running", "--base", base, "--export", export, id))
	saved := 0 // the file is empty for a moment at each step
	rig.Eventually(t, 10*time.Second, "a count", func() bool { saved = count(d.Rootfs); return saved > 0 })
	if !d.Running(id) {
		t.Error("containerd says that the container does not run")
	}
	grows(d.Rootfs, "after a checkpoint")
	refused(t, d.Rethaw("restore", "--runtime", "containerd", "--image", image, id), exitUnsupported, "containerd", "runc")
	// runc can bring it back to life where its file is there too, which it may just have open.
	c := r.New(t, rig.Config{Args: []string{"/bin/true"}, Unconfined: true})
	if err := os.WriteFile(filepath.Join(c.Rootfs, "count"), []byte("none yet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ok(t, c.TryRethaw("restore", "--detach", "--bundle", c.Bundle, "--image", image, c.ID))
	rig.Eventually(t, 10*time.Second, "the count to go on in runc's container", func() bool { return count(c.Rootfs) > saved })

	// An export brings its file along.
	e := r.New(t, rig.Config{Args: []string{"/bin/true"}, Unconfined: true})
	ok(t, e.TryRethaw("restore", "--detach", "--bundle", e.Bundle, "--import", export, e.ID))
	grows(e.Rootfs, "out of an export")
}

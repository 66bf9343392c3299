package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// TestHookSealed: annotations have images encrypted, old ones removed, and restored with the key.
func TestHookSealed(t *testing.T) {
	t.Parallel()
	to, identity := keys(t)
	_, other := keys(t)
	p := theRig(t).NewProgram(t, "eventfd", rig.Config{})
	addHook(t, p.Container, "checkpoint.every=300ms", "checkpoint.keep=2", "checkpoint.encrypt-to="+to)
	p.Run()
	p.WaitReady()
	s := taken(t, p.Container, 4)
	p.Check("after four images")
	p.Delete()
	assertForgotten(t, p.Container, s.Agent)
	images, err := filepath.Glob(filepath.Join(p.Bundle, "checkpoints", "*"))
	if err != nil || len(images) < 1 || len(images) > 2 {
		t.Fatalf("images %v, %v, want 2", images, err)
	}
	for _, image := range images {
		names, err := os.ReadDir(image)
		if err != nil || len(names) != 1 || names[0].Name() != specs.SealedFile {
			t.Errorf("%s: %v, %v", image, names, err)
		}
	}
	last := images[len(images)-1]
	r := p.TryRethaw("verify", "--digest", "--identity", identity, last)
	if r.Code != 0 {
		t.Fatal(r)
	}
	digest := strings.TrimSpace(r.Stdout)
	for _, bad := range [][]string{
		{"restore=" + last},
		{"restore=" + last, "restore.identity=" + other},
		{"restore=" + last, "restore.identity=" + identity, "restore.digest=sha256:" + strings.Repeat("0", 64)},
	} {
		setAnnotations(t, p.Container, bad...)
		r := p.Runtime("run", "--detach", "--bundle", p.Bundle, p.ID)
		if r.Code == 0 {
			t.Errorf("%v: it runs", bad)
		}
		p.AssertGone()
	}
	setAnnotations(t, p.Container, "restore="+last, "restore.identity="+identity, "restore.digest="+digest)
	p.Rewind()
	p.Run()
	p.Check("restored")
	p.Delete()
}

// TestHookStranger: a process of the host that reaches the socket is not heard, and one in another
// container is not either.
func TestHookStranger(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	addHook(t, c, "checkpoint.on-request=true")
	runIdle(t, c)
	places, err := filepath.Glob("/run/rethaw/hook/" + c.ID + "-*/sock")
	if err != nil || len(places) != 1 {
		t.Fatal(places, err)
	}
	conn, err := net.DialTimeout("unix", places[0], 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Who is not heard may have been answered before.
	if _, err := conn.Write([]byte(`{"checkpoint":{"leave_running":false}}` + "\n")); err != nil && !errors.Is(err, unix.EPIPE) {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	var answer struct{ Result, Error string }
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil || answer.Result != "error" || !strings.Contains(answer.Error, "the container's own") {
		t.Errorf("the answer is %q, %v", line, err)
	}
	if s, _ := hookStatus(t, c); len(s.Images) > 0 {
		t.Errorf("an image was taken: %+v", s)
	}
	if r := c.Exec("/bin/true"); r.Code != 0 {
		t.Errorf("the container does not run on: %v", r)
	}
}

// TestHookReach: annotations that name what the container can write to are refused.
func TestHookReach(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	for _, a := range [][]string{
		{"restore=rootfs/evil"},
		{"checkpoint.after=1s", "checkpoint.image=" + filepath.Join(c.Bundle, "rootfs", "images")},
	} {
		setAnnotations(t, c, a...)
		r := c.Runtime("run", "--detach", "--bundle", c.Bundle, c.ID)
		if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "can write to") {
			t.Errorf("%v: %v", a, r)
		}
		c.AssertGone()
	}
}

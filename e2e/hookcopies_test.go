package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// TestHookCopies: one image, one bundle, twenty containers at the same time, each of which may
// ask for images of its own. The bundle has no tmpfs at /run, so that all share the place
// where the socket is mounted.
func TestHookCopies(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{Edit: func(s *runtimespec.Spec) {
		s.Linux.CgroupsPath = ""
		var mounts []runtimespec.Mount
		for _, m := range s.Mounts {
			if m.Destination != "/run" {
				mounts = append(mounts, m)
			}
		}
		s.Mounts = mounts
	}})
	addHook(t, c, "checkpoint.on-request=true")
	runIdle(t, c)
	c.Checkpoint()
	addHook(t, c, "restore=checkpoint")
	ids := make([]string, copies)
	var all sync.WaitGroup
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d", c.ID, i)
		t.Cleanup(func() { c.Runtime("delete", "--force", ids[i]) })
		all.Go(func() {
			if r := c.Runtime("run", "--detach", "--bundle", c.Bundle, ids[i]); r.Code != 0 {
				t.Error(r)
			}
		})
	}
	all.Wait()
	rig.Eventually(t, 30*time.Second, "all copies", func() bool {
		r := c.TryRethaw("status", c.ID+"-")
		return strings.Count(r.Stdout, "state      restored") == copies
	})
	for i, id := range ids {
		if r := c.Runtime("exec", id, "/bin/test", "-S", "/run/rethaw.sock"); r.Code != 0 {
			t.Errorf("copy %d has no socket: %v", i, r)
		}
		if r := c.Runtime("delete", "--force", id); r.Code != 0 {
			t.Error(r)
		}
	}
	if r := c.TryRethaw("status", c.ID+"-"); r.Code != exitNotFound {
		t.Errorf("all copies are deleted: %v", r)
	}
	if _, err := os.Lstat(filepath.Join(c.Rootfs, "run", "rethaw.sock")); err == nil {
		t.Error("the last one has left the file on which the socket was mounted")
	}
}

// TestHookNeverStarted: a container that is created and deleted leaves nothing behind.
func TestHookNeverStarted(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	addHook(t, c)
	runIdle(t, c)
	c.Checkpoint()
	for _, annotation := range []string{"restore=checkpoint", "checkpoint.after=1s"} {
		setAnnotations(t, c, annotation, "checkpoint.on-request=true")
		if r := c.Runtime("create", "--bundle", c.Bundle, c.ID); r.Code != 0 {
			t.Fatal(r)
		}
		s, ok := hookStatus(t, c)
		if !ok {
			t.Error("nothing is known of it")
		}
		c.Delete()
		rig.Eventually(t, 5*time.Second, "the agent's end", func() bool {
			_, ok := hookStatus(t, c)
			return !ok
		})
		assertForgotten(t, c, s.Agent)
	}
}

// recipe is the Python of docs/hook.md, with a nonce and a file for what it learns.
const recipe = `
import json, os, socket, time
def checkpoint(**options):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/rethaw.sock")
        s.sendall(json.dumps({"checkpoint": options}).encode() + b"\n")
        return json.loads(s.makefile().readline())

nonce = os.urandom(8).hex()
answer = checkpoint(image="warm")
text = answer["result"] + " " + answer.get("environment", {}).get("NAME", "") + " " + nonce
with open("/state/new", "w") as f:
    f.write(text)
os.rename("/state/new", "/state/learned")
time.sleep(100000)
`

// TestHookRecipe: the Python of the documentation.
func TestHookRecipe(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip(err)
	}
	c := theRig(t).New(t, rig.Config{HostUsr: true, Args: []string{"/usr/bin/python3", "-c", recipe}})
	learned := func() []string {
		t.Helper()
		path := filepath.Join(c.StateDir, "learned")
		var text []byte
		rig.Eventually(t, 30*time.Second, "what the program learns", func() bool {
			var err error
			text, err = os.ReadFile(path)
			return err == nil
		})
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), " ")
	}
	addHook(t, c, "checkpoint.on-request=true")
	c.Run()
	first := learned()
	if first[0] != "resumed" {
		t.Fatalf("the original learns %q", first)
	}
	c.Delete()
	setAnnotations(t, c, "restore=checkpoints/warm")
	c.EditSpec(func(s *runtimespec.Spec) { s.Process.Env = append(s.Process.Env, "NAME=web2") })
	c.Run()
	if copy := learned(); copy[0] != "restored" || copy[1] != "web2" || copy[2] != first[2] {
		t.Errorf("the copy learns %q, want the nonce %s", copy, first[2])
	}
}

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// TestHookRestore: the annotation restores in the runtime's own create and start, and other
// hooks of the container run as ever.
func TestHookRestore(t *testing.T) {
	t.Parallel()
	p := theRig(t).NewProgram(t, "tree", rig.Config{})
	addHook(t, p.Container)
	p.Run()
	p.WaitReady()
	p.Checkpoint()
	addHook(t, p.Container, "restore="+p.Image)
	mark := filepath.Join(p.StateDir, "stages")
	p.EditSpec(func(s *runtimespec.Spec) {
		stage := func(list *[]runtimespec.Hook, path, out, name string) {
			*list = append(*list, runtimespec.Hook{Path: path, Args: []string{"sh", "-c", "echo " + name + " >> " + out + "; (true; true)"}})
		}
		stage(&s.Hooks.CreateRuntime, "/bin/sh", mark, "createRuntime")
		stage(&s.Hooks.CreateContainer, "/bin/sh", mark, "createContainer")
		stage(&s.Hooks.StartContainer, "/bin/sh", "/state/stages", "startContainer")
	})
	files, more := p.OpenStdio()
	defer files[0].Close()
	for round := range 2 {
		if r := p.Runtime(slices.Concat([]string{"create", "--bundle", p.Bundle}, more, []string{p.ID})...); r.Code != 0 {
			t.Fatal(r)
		}
		time.Sleep(time.Duration(round) * 700 * time.Millisecond) // longer than we look eagerly
		s, _ := hookStatus(t, p.Container)
		if state, _ := p.State(); state.Status != runtimespec.StateCreated || s.State != "armed" {
			t.Fatalf("created, it is %s, and the hook says %+v", state.Status, s)
		}
		if r := p.Runtime("start", p.ID); r.Code != 0 {
			t.Fatal(r)
		}
		p.Check("restored")
		if r := p.Exec("/bin/true"); r.Code != 0 {
			t.Error(r)
		}
		p.Delete()
		assertForgotten(t, p.Container, s.Agent)
		p.Rewind()
	}
	text, err := os.ReadFile(mark)
	one := "createRuntime\ncreateContainer\nstartContainer\n"
	if err != nil || string(text) != one+one {
		t.Errorf("the other hooks: %q, %v", text, err)
	}
}

// TestHookExplicit: `rethaw restore` of a bundle with the annotation takes its own image.
func TestHookExplicit(t *testing.T) {
	t.Parallel()
	p := theRig(t).NewProgram(t, "eventfd", rig.Config{})
	addHook(t, p.Container)
	p.Run()
	p.WaitReady()
	p.Checkpoint()
	addHook(t, p.Container, "restore=/nowhere", "checkpoint.after=200ms", "checkpoint.image=images/{time}")
	p.Restore()
	p.Check("restored")
	taken(t, p.Container, 1)
}

// TestHookRefuses: what cannot be done is refused with a word, and nothing is created.
func TestHookRefuses(t *testing.T) {
	t.Parallel()
	whole := idle(t, rig.Config{})
	runIdle(t, whole)
	whole.Checkpoint()
	for _, tt := range []struct {
		name, annotation, says string
	}{
		{"no image", "restore=/nowhere/image", "/nowhere/image"},
		{"no image in the bundle", "restore=images/none", "b/images/none"},
		{"out of the bundle", "restore=../../etc", "below the bundle"},
		{"unknown annotation", "checkpoint.afer=3s", "dev.rethaw.checkpoint.afer"},
		{"unknown value", "checkpoint.on-request=yes", "true"},
		{"bad time", "checkpoint.after=30", "30s"},
		{"bad port", "checkpoint.listening=http", "65535"},
		{"relative file", "checkpoint.file=ready", "absolute"},
		{"nothing to keep", "checkpoint.keep=3", "every"},
		{"other mounts", "restore=" + whole.Image, "/extra"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := idle(t, rig.Config{})
			addHook(t, c)
			key, value, _ := strings.Cut(tt.annotation, "=")
			c.EditSpec(func(s *runtimespec.Spec) {
				s.Annotations = map[string]string{"dev.rethaw." + key: value}
				if tt.name == "other mounts" {
					s.Mounts = slices.DeleteFunc(s.Mounts, func(m runtimespec.Mount) bool { return m.Destination == "/state" })
					s.Annotations["dev.rethaw.restore"] = whole.Image
				}
			})
			if tt.name == "other mounts" {
				tt.says = "/state"
			}
			r := c.Runtime("run", "--detach", "--bundle", c.Bundle, c.ID)
			s, _ := hookStatus(t, c)
			if r.Code == 0 || s.State != "failed" || !strings.Contains(s.Error, tt.says) {
				t.Errorf("want a refusal with %q: %+v, %v", tt.says, s, r)
			}
			// crun does not show what a hook says.
			if theRig(t).Runtime == "runc" && (!strings.Contains(r.Stderr, tt.says) || !strings.Contains(r.Stderr, "rethaw:")) {
				t.Errorf("the runtime does not tell %q: %v", tt.says, r)
			}
			c.AssertGone()
		})
	}
}

// TestHookGarbage: a hook called by hand.
func TestHookGarbage(t *testing.T) {
	t.Parallel()
	c := idle(t, rig.Config{})
	for _, tt := range []struct{ stage, stdin, says string }{
		{"createRuntime", "", "not the state of a container"},
		{"createRuntime", "hello", "not the state of a container"},
		{"createRuntime", `{"ociVersion":"1.0.2","id":"../x","bundle":"/b"}`, "../x"},
		{"createRuntime", `{"ociVersion":"1.0.2","id":"x","bundle":"b"}`, "absolute"},
		{"createRuntime", `{"ociVersion":"1.0.2","id":"x","bundle":"/nowhere","pid":1,"annotations":{"dev.rethaw.restore":"/x"}}`, "/nowhere"},
		{"createRuntime", `{"ociVersion":"1.0.2","id":"x","bundle":"/nowhere","annotations":{"dev.rethaw.restore":"/x"}}`, "pid"},
		{"createContainer", `{"ociVersion":"1.0.2","id":"x","bundle":"/nowhere","annotations":{"dev.rethaw.checkpoint.on-request":"true"}}`, "/nowhere"},
		{"midnight", "{}", "no hook stage"},
		{"agent", "{}", "createRuntime alone"},
	} {
		cmd := exec.Command(theRig(t).Rethaw, "hook", tt.stage)
		cmd.Stdin = strings.NewReader(tt.stdin)
		var errors strings.Builder
		cmd.Stderr = &errors
		if err := cmd.Run(); err == nil || !strings.Contains(errors.String(), tt.says) {
			t.Errorf("%s of %q: %v, %q", tt.stage, tt.stdin, err, errors.String())
		}
	}
	if s, ok := hookStatus(t, c); ok {
		t.Errorf("%+v", s)
	}
}

// TestHookFailsLate: what fails when the container is created already kills it: it does
// not run as if nothing had been asked.
func TestHookFailsLate(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"agent dies", "image is damaged"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := idle(t, rig.Config{})
			addHook(t, c)
			runIdle(t, c)
			c.Checkpoint()
			addHook(t, c, "restore=checkpoint")
			c.EditSpec(func(s *runtimespec.Spec) {
				s.Process.Args = []string{"/bin/sh", "-c", "echo fresh > /state/fresh; sleep 1000"}
			})
			if r := c.Runtime("create", "--bundle", c.Bundle, c.ID); r.Code != 0 {
				t.Fatal(r)
			}
			s, _ := hookStatus(t, c)
			if how == "agent dies" {
				if err := syscall.Kill(s.Agent, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				rig.Eventually(t, 5*time.Second, "the agent's end", func() bool {
					now, _ := hookStatus(t, c)
					return now.State == "failed"
				})
			} else {
				damagePages(t, c)
			}
			c.Runtime("start", c.ID)
			rig.Eventually(t, 10*time.Second, "the container's end", func() bool {
				state, ok := c.State()
				return !ok || state.Status == runtimespec.StateStopped
			})
			rig.Eventually(t, 5*time.Second, "the reason", func() bool {
				now, ok := hookStatus(t, c)
				return ok && now.State == "failed" && now.Error != ""
			})
			if _, err := os.Stat(filepath.Join(c.StateDir, "fresh")); err == nil {
				t.Error("the fresh program has run")
			}
			c.Delete()
			now, ok := hookStatus(t, c)
			if how != "agent dies" && (!ok || now.Error == "") {
				t.Errorf("the reason is gone with the container: %+v", now)
			}
		})
	}
}

// damagePages takes the end of the pages away from an image in place, after it was opened.
func damagePages(t *testing.T, c *rig.Container) {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(c.Image, "pages-*"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("%v, %v", pages, err)
	}
	for _, path := range pages {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
}

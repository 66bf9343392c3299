package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// TestHookRequest: a program asks for its own checkpoint, and learns in the original and in
// each copy which one it is.
func TestHookRequest(t *testing.T) {
	t.Parallel()
	p := theRig(t).NewProgram(t, "request", rig.Config{Args: []string{`{"checkpoint":{"image":"self"}}` + "\n"}, Env: []string{"COPY=none"}})
	addHook(t, p.Container, "checkpoint.on-request=true")
	p.Run()
	p.WaitReady()
	type answer struct {
		Result, Image, Error string
		Environment          map[string]string
	}
	heard := func(n int) (a answer) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.StateDir, fmt.Sprintf("answer.%d", n)))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return a
	}
	again := func(n int) {
		t.Helper()
		for _, name := range []string{"answer", "result"} {
			if err := os.Remove(filepath.Join(p.StateDir, fmt.Sprintf("%s.%d", name, n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.Check("the original asks")
	if a := heard(1); a.Result != "resumed" || a.Image != "self" {
		t.Errorf("the original hears %+v", a)
	}
	again(1)
	p.Delete()

	image := filepath.Join(p.Bundle, "checkpoints", "self")
	for copy := range 3 {
		name := fmt.Sprint("number-", copy)
		if copy < 2 {
			setAnnotations(t, p.Container, "restore=checkpoints/self", "checkpoint.on-request=true")
		} else {
			// By the command, and into a container without the hook.
			setAnnotations(t, p.Container)
			p.Image = image
		}
		p.EditSpec(func(s *runtimespec.Spec) {
			s.Process.Env = append(slices.DeleteFunc(s.Process.Env, func(v string) bool { return strings.HasPrefix(v, "COPY=") }), "COPY="+name)
		})
		p.Rewind()
		if copy < 2 {
			p.Run()
		} else {
			p.Restore()
		}
		var a answer
		rig.Eventually(t, 10*time.Second, "the copy's answer", func() bool {
			_, err := os.Stat(filepath.Join(p.StateDir, "result.1"))
			return err == nil
		})
		if a = heard(1); a.Result != "restored" || a.Environment["COPY"] != name || a.Environment["PATH"] == "" {
			t.Errorf("the copy hears %+v", a)
		}
		if text, err := os.ReadFile(filepath.Join(p.StateDir, "result.1")); err != nil || strings.TrimSpace(string(text)) != "ok "+p.Nonce {
			t.Errorf("the copy says %q, %v", text, err)
		}
		again(1)
		p.Delete()
	}
}

// TestHookRequestRefused: a request that makes no sense is answered with an error.
func TestHookRequestRefused(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"{}", "nonsense", `{"checkpoint":{"image":"../x"}}`, `{"checkpoint":{"unknown":1}}`, `{"checkpoint":{}} {}`} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			p := theRig(t).NewProgram(t, "request", rig.Config{Args: []string{request + "\n"}})
			addHook(t, p.Container, "checkpoint.on-request=true")
			p.Run()
			p.WaitReady()
			p.Check("asks nonsense")
			text, err := os.ReadFile(filepath.Join(p.StateDir, "answer.1"))
			if err != nil || !strings.Contains(string(text), `"error"`) {
				t.Errorf("the answer is %q, %v", text, err)
			}
			if s, _ := hookStatus(t, p.Container); len(s.Images) > 0 {
				t.Errorf("an image was taken: %+v", s)
			}
		})
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/specs"
)

// keys makes an identity and returns its recipient and its file.
func keys(t *testing.T) (recipient, file string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String(), file
}

// TestSealed checkpoints a program into encrypted images, streams and both, and restores out of
// each. Without the key, with another or with a changed byte nothing is made.
func TestSealed(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	to, identity := keys(t)
	_, other := keys(t)
	w := newWorkspace(t)
	p := theRig(t).RunProgram(t, "threads", rig.Config{})
	p.Check("before")
	file := filepath.Join(t.TempDir(), "export")

	// Both at once, and the container runs on.
	ok(t, w.run(nil, p.Container, "checkpoint", "-R", "--encrypt-to", to, "--image", p.Image, "-e", file, p.ID))
	p.Check("left running")
	for _, path := range []string{filepath.Join(p.Image, specs.SealedFile), file} {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(text, []byte("age-encryption.org/v1\n")) {
			t.Fatalf("%s begins with %.30q, %v", path, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if names, err := os.ReadDir(p.Image); err != nil || len(names) != 1 {
		t.Errorf("in the image: %v, %v", names, err)
	}
	ok(t, w.run(nil, p.Container, "verify", "--identity", identity, p.Image))
	ok(t, w.run(nil, p.Container, "inspect", "--identity", identity, file))
	for _, path := range []string{p.Image, file} {
		refused(t, w.run(nil, p.Container, "verify", path), exitImage, "--identity")
		refused(t, w.run(nil, p.Container, "inspect", "--identity", other, path), exitImage, "no identity given fits")
	}
	digests := map[string]bool{}
	for _, path := range []string{p.Image, file} {
		r := w.run(nil, p.Container, "verify", "--digest", "--identity", identity, path)
		ok(t, r)
		digests[strings.TrimSpace(r.Stdout)] = true
	}
	if len(digests) != 1 {
		t.Errorf("one image, several digests: %v", digests)
	}

	// The killing checkpoint, and what must not be restored.
	ok(t, w.run(nil, p.Container, "checkpoint", "--encrypt-to", to, "--image", p.Image, "-e", file, p.ID))
	p.AssertGone()
	digest := strings.TrimSpace(w.run(nil, p.Container, "verify", "--digest", "--identity", identity, file).Stdout)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, flip(text, len(text)-5), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := []string{"--detach", "--bundle", p.Bundle, p.ID}
	for _, bad := range [][]string{
		{"-i", file}, {"-i", file, "--identity", other}, {"--image", p.Image}, {"--image", p.Image, "--identity", other},
		{"-i", damaged, "--identity", identity}, {"-i", file, "--identity", identity, "--digest", "sha256:" + strings.Repeat("0", 64)},
	} {
		r := w.run(nil, p.Container, "restore", append(bad, rest...)...)
		refused(t, r, exitImage)
		t.Logf("%v: %s", bad[:1], r.Stderr)
		p.AssertGone()
	}
	refused(t, w.run(nil, p.Container, "restore", append([]string{"-i", file, "--identity", "/none"}, rest...)...), exitUsage)
	refused(t, w.run(nil, p.Container, "restore", append([]string{"-i", file, "--digest", ""}, rest...)...), exitUsage)

	// From a pipe, from the file, from the directory.
	pipe, into, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = into.Write(text)
		into.Close()
	}()
	cmd := w.restore(p.Container, pipe, "-i", "-", "--identity", identity, "--digest", digest)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, p.Output())
	}
	pipe.Close()
	w.empty()
	p.Check("from a pipe")
	ok(t, w.run(nil, p.Container, "checkpoint", "--encrypt-to", to, "--image", p.Image, p.ID))
	p.AssertGone()
	cmd = w.restore(p.Container, nil, "--image", p.Image, "--identity", other, "--identity", identity)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, p.Output())
	}
	w.empty()
	p.Check("from an encrypted directory")

	// Plain images where an encrypted one is expected.
	ok(t, w.run(nil, p.Container, "checkpoint", "--image", p.Image, p.ID))
	p.AssertGone()
	refused(t, w.run(nil, p.Container, "restore", append([]string{"--image", p.Image, "--identity", identity}, rest...)...), exitImage, "not encrypted")
	r := w.run(nil, p.Container, "inspect", "--json", "--digest", p.Image)
	ok(t, r)
	var shown struct{ Digest string }
	if err := json.Unmarshal([]byte(r.Stdout), &shown); err != nil || !strings.HasPrefix(shown.Digest, "sha256:") {
		t.Fatalf("%+v, %v", shown, err)
	}
	p.Restore("--digest", shown.Digest)
	p.Check("with its digest")
}

// TestSealedFails: keys that are none and places that are taken are found before anything stops.
func TestSealedFails(t *testing.T) {
	t.Parallel()
	c, w := idle(t, rig.Config{}), newWorkspace(t)
	c.Run()
	to, _ := keys(t)
	place := t.TempDir()
	if err := os.WriteFile(filepath.Join(place, "Mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, w.run(nil, c, "checkpoint", "--encrypt-to", "age1nothing", "--image", c.Image, c.ID), exitUsage, "age1nothing")
	refused(t, w.run(nil, c, "checkpoint", "--encrypt-to", "/none", "--image", c.Image, c.ID), exitUsage, "/none")
	refused(t, w.run(nil, c, "checkpoint", "--encrypt-to", to, "--image", place, c.ID), exitImage, "Mine")
	if _, err := os.Lstat(c.Image); err == nil {
		t.Error("an image was made")
	}
	if r := c.Exec("/bin/true"); r.Code != 0 {
		t.Errorf("%v", r)
	}
}

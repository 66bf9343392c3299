package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

// TestSealedExport carries a container with its root filesystem through encrypted exports: neither side makes a
// file in plain text, and what was cut, changed or is looked at without the key brings nothing.
func TestSealedExport(t *testing.T) {
	t.Parallel()
	c, base := changeable(t)
	to, identity := keys(t)
	_, other := keys(t)
	if err := c.MountOverlay(); err != nil {
		t.Skip(err)
	}
	c.Run()
	nonce := nonceOf(t, runcHost{c})
	before := inside(t, runcHost{c}, census)
	w := newWorkspace(t)
	file := filepath.Join(t.TempDir(), "export")
	ok(t, w.run(nil, c, "checkpoint", "-R", "-c", "none", "--encrypt-to", to, "-e", file, c.ID))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"container.json", "config.json", "deep", specs.ImageFile, nonce} {
		if bytes.Contains(whole, []byte(plain)) {
			t.Errorf("%q can be read in it", plain)
		}
	}
	refused(t, w.run(nil, c, "verify", file), exitImage, "--identity")
	ok(t, w.run(nil, c, "verify", "--identity", identity, file))
	digest := strings.TrimSpace(ok(t, w.run(nil, c, "verify", "--digest", "--identity", identity, file)).Stdout)

	d := second(t, base)
	was := listing(t, d.Bundle)
	damaged := filepath.Join(t.TempDir(), "damaged")
	for _, bad := range []struct {
		name string
		text []byte
		args []string
		code int
		word string
	}{
		{"no key", whole, nil, exitImage, "--identity"},
		{"another key", whole, []string{"--identity", other}, exitImage, "no identity given fits"},
		{"cut off in the prelude", whole[:400], []string{"--identity", identity}, exitImage, "cut off"},
		{"cut off in the image", whole[:len(whole)/2], []string{"--identity", identity}, exitImage, "cut off"},
		{"without its end", whole[:len(whole)-1], []string{"--identity", identity}, exitImage, "cut off"},
		{"changed in the first piece", flip(whole, 1000), []string{"--identity", identity}, exitImage, "changed"},
		{"changed in the image", flip(whole, len(whole)*3/4), []string{"--identity", identity}, exitImage, "changed"},
		{"digest", whole, []string{"--identity", identity, "--digest", digest}, exitUnsupported, "--ignore-rootfs"},
	} {
		if err := os.WriteFile(damaged, bad.text, 0o600); err != nil {
			t.Fatal(err)
		}
		r := w.run(nil, d, "restore", append(bad.args, "-i", damaged, "--detach", "--bundle", d.Bundle, d.ID)...)
		t.Logf("%s: %s", bad.name, r.Stderr)
		refused(t, r, bad.code, bad.word)
		d.AssertGone()
		if is := listing(t, d.Bundle); is != was {
			t.Fatalf("%s: the bundle has changed:\n%s\n%s", bad.name, was, is)
		}
	}

	// Through a pipe: the workspace of neither side is used.
	seen := newWatch(t, c.Bundle, d.Bundle)
	carryByPipe(t, workspace{t, seen.dir}, c, d, []string{"--encrypt-to", to}, []string{"--identity", identity})
	seen.nothing()
	c.AssertGone()
	assertCarried(t, runcHost{d}, nonce, before)
	assertNoStage(t, d)

	// With the digest, where the changes are already.
	cmd := w.restore(c, nil, "-i", file, "--identity", identity, "--digest", digest, "--ignore-rootfs")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, c.Output())
	}
	w.empty()
	assertCarried(t, runcHost{c}, nonce, before)
}

// TestSealedStreamsBack: an encrypted directory is made, and restored, without a file in plain text; but for that of
// a container that does not wait for the encryption.
func TestSealedStreamsBack(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	to, identity := keys(t)
	p := startProgram(t, "tmpfs", needs["tmpfs"])
	seen := newWatch(t)
	w := workspace{t, seen.dir}
	ok(t, w.run(nil, p.Container, "checkpoint", "-R", "--encrypt-to", to, "--image", p.Image, p.ID))
	if names := seen.names(); len(names) != 1 || !strings.HasPrefix(filepath.Base(names[0]), "rethaw-export-") {
		t.Errorf("made meanwhile: %q", names)
	}
	p.Check("left running")
	ok(t, w.run(nil, p.Container, "checkpoint", "--encrypt-to", to, "--image", p.Image, p.ID))
	p.AssertGone()
	if err := w.restore(p.Container, nil, "--image", p.Image, "--identity", identity).Run(); err != nil {
		t.Fatalf("%v: %s", err, p.Output())
	}
	seen.nothing()
	p.Check("restored")
}

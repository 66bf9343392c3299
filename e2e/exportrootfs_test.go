package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// changing is a program that changes its root filesystem in all ways and holds some of the files
// open, one of them deleted. It has a number that nobody else knows. When /go comes it writes down what it
// can see of all that.
func changing() []string {
	return []string{"/bin/sh", "-ec", `
nonce=$(cat /proc/sys/kernel/random/uuid)
mkdir -p /srv/new/deep; echo deep > /srv/new/deep/file; ln /srv/new/deep/file /srv/new/linked; ln -s /etc/passwd /srv/link
rm /etc/nsswitch.conf; echo more >> /etc/group; rm -r /old; mkdir /old; echo fresh > /old/fresh
rm /file; mkdir /file; rm -r /dir; echo file > /dir; mkfifo /srv/fifo; chmod 4755 /data; chown 12:34 /home
dd if=/dev/zero of=/srv/sparse bs=1 count=1 seek=1000000 2>/dev/null
exec 3>>/held; echo one >&3
echo gone > /deleted; exec 4</deleted; rm /deleted
echo "nonce $nonce"
while [ ! -e /go ]; do sleep 0.05; done
echo two >&3
{ echo "nonce $nonce"; cat /held; cat <&4; } > /result.new; mv /result.new /result
sleep 1000000`}
}

// census lists a root filesystem from inside, but for what engines put there.
const census = `cd /; find . -xdev | grep -v -e '^./bin/' -e '^./etc/hosts$' -e '^./etc/hostname$' -e '^./etc/resolv.conf$' -e '^./run' -e '^./dev' -e '^./proc' -e '^./sys' -e '^./etc$' -e '^.$' -e '^./state' -e '^./tmp' | sort | while read f; do
if [ -L "$f" ]; then echo "$f -> $(readlink "$f")"; elif [ -f "$f" ]; then echo "$f $(stat -c '%f %u %g %s %Y %h' "$f") $(md5sum < "$f")"; else echo "$f $(stat -c '%f %u %g %Y' "$f")"; fi; done`

// host is a machine with containers: a state root, or a store of podman.
type host interface {
	exec(args ...string) rig.Result
	said() string
}

type runcHost struct{ *rig.Container }

func (h runcHost) exec(args ...string) rig.Result { return h.Exec(args...) }
func (h runcHost) said() string                   { return h.Output() }

// inside runs a command in a container.
func inside(t *testing.T, h host, script string) string {
	t.Helper()
	return ok(t, h.exec("/bin/sh", "-c", script)).Stdout
}

// nonceOf waits until the program has changed everything, and returns its number.
func nonceOf(t *testing.T, h host) string {
	t.Helper()
	rig.Eventually(t, 20*time.Second, "the program's changes", func() bool { return strings.Contains(h.said(), "nonce ") })
	return strings.TrimSpace(h.said())
}

// assertCarried sees that a container is the one of before: its files, and what its program knows.
func assertCarried(t *testing.T, h host, nonce, before string) {
	t.Helper()
	if after := inside(t, h, census); after != before {
		t.Errorf("the root filesystem was\n%s\nand is\n%s", before, after)
	}
	inside(t, h, "touch /go")
	want := nonce + "\none\ntwo\ngone\n"
	got := ""
	rig.Eventually(t, 20*time.Second, "the program's result", func() bool {
		got = h.exec("/bin/cat", "/result").Stdout
		return got != ""
	})
	if got != want {
		t.Errorf("the program found %q, want %q", got, want)
	}
}

// changeable makes a container for the changing program, and leaves what it is made of in base.
func changeable(t *testing.T) (c *rig.Container, base string) {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	c = theRig(t).New(t, rig.Config{Args: changing()})
	for _, path := range []string{"old/deep/one", "old/two", "file", "dir/in"} {
		c.WriteFile(path, path, 0o644)
	}
	return c, c.KeepBase()
}

// second makes the same container in another state root, with the base alone.
func second(t *testing.T, base string) *rig.Container {
	t.Helper()
	c := theRig(t).New(t, rig.Config{Args: changing()})
	c.CopyRootfs(base)
	return c
}

// TestExportRootfs carries a container, from a root filesystem that is an overlay and from one that is compared with
// its base, to where there is only the base: a plain one, an overlay; as a file, and through a pipe.
func TestExportRootfs(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name                     string
		overlay, into, pipe, own bool
	}{
		{name: "overlay", overlay: true},
		{name: "base, into an overlay, through a pipe", into: true, pipe: true},
		{name: "base, without a config.json", own: true},
	} {
		t.Run(one.name, func(t *testing.T) {
			c, base := changeable(t)
			args := []string{"-c", "none"}
			if one.overlay {
				if err := c.MountOverlay(); err != nil {
					t.Skip(err)
				}
			} else {
				args = append(args, "--base", base)
			}
			c.Run()
			nonce, w := nonceOf(t, runcHost{c}), newWorkspace(t)
			before := inside(t, runcHost{c}, census)
			d := second(t, base)
			if one.into {
				if err := d.MountOverlay(); err != nil {
					t.Skip(err)
				}
			}
			file := filepath.Join(t.TempDir(), "export")
			if one.own {
				if err := os.Remove(filepath.Join(d.Bundle, "config.json")); err != nil {
					t.Fatal(err)
				}
			}
			if one.pipe {
				carryByPipe(t, w, c, d, args, nil)
			} else {
				ok(t, w.run(nil, c, "checkpoint", append(args, "-e", file, c.ID)...))
				if err := w.restore(d, nil, "-i", file).Run(); err != nil {
					t.Fatalf("%v: %s", err, d.Output())
				}
			}
			if one.own {
				// The cgroup is that of the configuration.
				if state, there := c.State(); there {
					t.Errorf("it is still there: %+v", state)
				}
			} else {
				c.AssertGone()
			}
			if strings.Contains(d.Output(), "rethaw") {
				t.Errorf("rethaw said: %s", d.Output())
			}
			assertCarried(t, runcHost{d}, nonce, before)
			assertNoStage(t, d)
		})
	}
}

// carryByPipe checkpoints c into a pipe and restores d out of it.
func carryByPipe(t *testing.T, w workspace, c, d *rig.Container, args, there []string) {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	send := w.command(c, "checkpoint", append(args, "-e", "-", c.ID)...)
	var said bytes.Buffer
	send.Stdout, send.Stderr = to, &said
	receive := w.restore(d, from, append(there, "-i", "-")...)
	if err := receive.Start(); err != nil {
		t.Fatal(err)
	}
	err = send.Run()
	to.Close()
	if err != nil {
		t.Errorf("checkpoint: %v: %s", err, said.String())
	}
	if err := receive.Wait(); err != nil {
		t.Fatalf("restore: %v: %s", err, d.Output())
	}
}

// assertNoStage sees that an import has left nothing of its own.
func assertNoStage(t *testing.T, c *rig.Container) {
	t.Helper()
	for _, dir := range []string{c.Bundle, c.Rootfs} {
		if left, err := filepath.Glob(filepath.Join(dir, ".rethaw*")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// listing is a root filesystem as seen from the host, with what only an import could have changed.
func listing(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "find . -printf '%p %y %m %U %G %s %T@ %n %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 md5sum")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestExportIgnoresRootfs: without the changes, on either side, the restore works where they are there.
func TestExportIgnoresRootfs(t *testing.T) {
	t.Parallel()
	c, base := changeable(t)
	c.Run()
	nonce, w := nonceOf(t, runcHost{c}), newWorkspace(t)
	before := inside(t, runcHost{c}, census)
	files := t.TempDir()
	with, without, plain := filepath.Join(files, "with"), filepath.Join(files, "without"), filepath.Join(files, "plain")
	ok(t, w.run(nil, c, "checkpoint", "-R", "--base", base, "-e", with, c.ID))
	if r := ok(t, w.run(nil, c, "checkpoint", "-R", "-e", plain, c.ID)); strings.Count(r.Stderr, "\n") != 1 || !strings.Contains(r.Stderr, "--base") {
		t.Errorf("no word about the root filesystem: %q", r.Stderr)
	}
	r := ok(t, w.run(nil, c, "checkpoint", "--base", base, "--ignore-rootfs", "-e", without, c.ID))
	if r.Stderr != "" {
		t.Errorf("said: %s", r.Stderr)
	}
	c.AssertGone()
	for _, one := range [][]string{{"-i", without}, {"-i", plain}, {"-i", with, "--ignore-rootfs"}} {
		// Into the base alone: nothing is applied, so that a file is missing.
		d := second(t, base)
		// The restore of a deleted file makes and removes one, which sets the time of its directory.
		below := func() string { _, rest, _ := strings.Cut(listing(t, d.Rootfs), "\n"); return rest }
		was := below()
		if err := w.restore(d, nil, one...).Run(); err == nil {
			t.Errorf("%v: restored without its files", one)
		}
		d.AssertGone()
		if is := below(); is != was {
			t.Errorf("%v: the root filesystem has changed:\n%s\n%s", one, was, is)
		}
	}
	if err := w.restore(c, nil, "-i", with, "--ignore-rootfs").Run(); err != nil {
		t.Fatalf("%v: %s", err, c.Output())
	}
	assertCarried(t, runcHost{c}, nonce, before)
	refused(t, w.run(nil, c, "checkpoint", "--ignore-rootfs", c.ID), exitUsage, "--export")
	refused(t, w.run(nil, c, "restore", "--ignore-rootfs", "--bundle", c.Bundle, "x"), exitUsage, "--import")
	refused(t, w.run(nil, c, "checkpoint", "-e", with, "--base", files+"/no", c.ID), 1, files+"/no")
}

// TestImportTakesBack: an import that fails, at whatever point, leaves the bundle as it was.
func TestImportTakesBack(t *testing.T) {
	t.Parallel()
	c, base := changeable(t)
	c.Run()
	nonce, w := nonceOf(t, runcHost{c}), newWorkspace(t)
	before := inside(t, runcHost{c}, census)
	made := w.run(nil, c, "checkpoint", "-c", "none", "--base", base, "-e", "-", c.ID)
	ok(t, made)
	whole := []byte(made.Stdout)
	d := second(t, base)
	was := listing(t, d.Bundle)
	file := filepath.Join(t.TempDir(), "import")
	args := []string{"--detach", "--bundle", d.Bundle, "-i", file, d.ID}
	image := bytes.Index(whole, []byte("image.rt"))
	for name, bad := range map[string][]byte{
		"cut off in the changes": whole[:image/2], "cut off before the image": whole[:image], "cut off in the image": whole[:image+5000],
		"damaged changes": flip(whole, bytes.Index(whole, []byte("deep\n"))), "damaged image": flip(whole, len(whole)-20000),
	} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, w.run(nil, d, "restore", args...), exitImage, "import")
		d.AssertGone()
		if is := listing(t, d.Bundle); is != was {
			t.Fatalf("%s: the bundle has changed:\n%s\n%s", name, was, is)
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	// The base lacks the program: found when all is applied.
	busybox := filepath.Join(d.Rootfs, "bin/busybox")
	if err := os.Rename(busybox, d.Bundle+"/busybox"); err != nil {
		t.Fatal(err)
	}
	was = listing(t, d.Rootfs)
	refused(t, w.run(nil, d, "restore", args...), exitBundle, "/bin/busybox")
	if is := listing(t, d.Rootfs); is != was {
		t.Fatalf("the bundle has changed:\n%s\n%s", was, is)
	}
	if err := os.Rename(d.Bundle+"/busybox", busybox); err != nil {
		t.Fatal(err)
	}
	if err := w.restore(d, nil, "-i", file).Run(); err != nil {
		t.Fatalf("%v: %s", err, d.Output())
	}
	// Nobody changes the files of a container that runs.
	refused(t, w.run(nil, d, "restore", "--detach", "--bundle", d.Bundle, "-i", file, fmt.Sprint(d.ID, "x")), exitState, "--ignore-rootfs")
	assertCarried(t, runcHost{d}, nonce, before)
}

// TestExportStandsStill: files and memory are of the same moment, also if the original goes on. A program that writes
// down each number that it counts goes on counting elsewhere, with no number missing and none twice.
func TestExportStandsStill(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	args := []string{"/bin/sh", "-c", "i=0; while :; do echo $i >> /count; i=$((i+1)); done"}
	c := theRig(t).New(t, rig.Config{Args: args})
	base := c.KeepBase()
	if err := c.MountOverlay(); err != nil {
		t.Skip(err)
	}
	c.Run()
	w, file := newWorkspace(t), filepath.Join(t.TempDir(), "export")
	lines := func(c *rig.Container) []string { return strings.Fields(inside(t, runcHost{c}, "cat /count")) }
	rig.Eventually(t, 20*time.Second, "numbers", func() bool { return len(lines(c)) > 1000 })
	ok(t, w.run(nil, c, "checkpoint", "--leave-running", "-e", file, c.ID))
	c.Delete()
	d := theRig(t).New(t, rig.Config{Args: args})
	d.CopyRootfs(base)
	if err := w.restore(d, nil, "-i", file).Run(); err != nil {
		t.Fatalf("%v: %s", err, d.Output())
	}
	had := len(lines(d))
	rig.Eventually(t, 20*time.Second, "more numbers", func() bool { return len(lines(d)) > had+1000 })
	for i, n := range lines(d) {
		if n != fmt.Sprint(i) {
			t.Fatalf("line %d is %s", i, n)
		}
	}
}

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// bystander is a directory of the host that no container may reach. It must stay as it is.
type bystander struct {
	t    *testing.T
	dir  string
	file string
	was  unix.Stat_t
}

func newBystander(t *testing.T) *bystander {
	t.Helper()
	o := &bystander{t: t, dir: t.TempDir()}
	o.file = filepath.Join(o.dir, "file")
	if err := os.WriteFile(o.file, []byte("the host's secret of the same size.."), 0o600); err != nil {
		t.Fatal(err)
	}
	// Times tell of everything that is made or written there.
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chtimes(o.file, old, old), os.Chtimes(o.dir, old, old), unix.Stat(o.file, &o.was)); err != nil {
		t.Fatal(err)
	}
	return o
}

// untouched checks it.
func (o *bystander) untouched(when string) {
	o.t.Helper()
	var now unix.Stat_t
	if err := unix.Stat(o.file, &now); err != nil || now.Mtim != o.was.Mtim || now.Ctim != o.was.Ctim || now.Atim != o.was.Atim || now.Nlink != o.was.Nlink {
		o.t.Errorf("%s: the host's file was touched: %+v, was %+v, %v", when, now, o.was, err)
	}
	if entries, err := os.ReadDir(o.dir); err != nil || len(entries) != 1 {
		o.t.Errorf("%s: in the host's directory: %v, %v", when, entries, err)
	}
}

// holding runs a shell that holds what a command line opens.
func holding(t *testing.T, script string, config rig.Config) *rig.Container {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	config.Args = []string{"/bin/sh", "-c", script + "; : > /state/ready; while :; do sleep 1000; done"}
	c := theRig(t).New(t, config)
	c.Run()
	rig.Eventually(t, 20*time.Second, "the shell", func() bool {
		_, err := os.Stat(filepath.Join(c.StateDir, "ready"))
		return err == nil
	})
	return c
}

// TestHostileFiles changes what the paths of open files lead to between checkpoint and restore, as
// another container with the same volume may: the restore neither waits nor follows, it is refused, and
// with the file as it was all is well.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	out := newBystander(t)
	volume := t.TempDir()
	at := func(name string) string { return filepath.Join(volume, name) }
	if err := errors.Join(os.WriteFile(at("file"), []byte("the container's own of the same size"), 0o600), os.Mkdir(at("dir"), 0o700), unix.Mkfifo(at("fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := holding(t, "exec 5<>/volume/file; exec 6</volume/dir; exec 7<>/volume/fifo", rig.Config{Mounts: []runtimespec.Mount{rig.BindWritable(volume, "/volume")}})
	c.Checkpoint()
	c.AssertGone()
	for _, name := range []string{"file", "dir", "fifo"} {
		for what, make := range map[string]func(path string) error{
			"a link to the host":    func(p string) error { return os.Symlink(out.file, p) },
			"a link up to the host": func(p string) error { return os.Symlink("../../../../../../../.."+out.file, p) },
			"a link through /proc":  func(p string) error { return os.Symlink("/proc/self/root"+out.file, p) },
			"a link through init":   func(p string) error { return os.Symlink("/proc/1/root/bin/sh", p) },
			"a link to itself":      func(p string) error { return os.Symlink(filepath.Base(p), p) },
			"a FIFO":                func(p string) error { return unix.Mkfifo(p, 0o600) },
			"a device":              func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
			"a block device":        func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o666, int(unix.Mkdev(7, 200))) },
			"a directory":           func(p string) error { return os.Mkdir(p, 0o700) },
			"a socket":              func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
			"nothing":               func(string) error { return nil },
		} {
			if name == "dir" && what == "a directory" || name == "fifo" && what == "a FIFO" {
				continue
			}
			if err := errors.Join(os.Rename(at(name), at("kept")), make(at(name))); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			r := tryRestore(c)
			if r.Code == 0 || !strings.Contains(r.Stderr, "/volume/"+name) {
				t.Errorf("%s in the place of %s: exit code %d: %s", what, name, r.Code, r.Stderr)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("%s in the place of %s: it took %v", what, name, took)
			}
			c.AssertGone()
			out.untouched(what)
			if err := errors.Join(os.RemoveAll(at(name)), os.Rename(at("kept"), at(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Restore()
	if r := c.Exec("/bin/sh", "-c", "cat /proc/1/fd/5"); r.Code != 0 || !strings.Contains(r.Stdout, "own of the same size") {
		t.Errorf("restored: %v", r)
	}
}

// TestHostileMounts replaces the directories on which a tmpfs was mounted after the start by links that
// lead out of the root filesystem.
func TestHostileMounts(t *testing.T) {
	t.Parallel()
	out := newBystander(t)
	c := holding(t, "mkdir -p /mnt/deep/t && mount -t tmpfs none /mnt/deep/t && echo secret > /mnt/deep/t/f", rig.Config{Caps: []string{"CAP_SYS_ADMIN"}, Unconfined: true})
	c.Checkpoint()
	c.AssertGone()
	rootfs := filepath.Join(c.Bundle, "rootfs")
	for _, place := range []string{"mnt/deep/t", "mnt/deep", "mnt"} {
		path := filepath.Join(rootfs, place)
		kept := filepath.Join(rootfs, "kept")
		if err := errors.Join(os.Rename(path, kept), os.Symlink(out.dir, path)); err != nil {
			t.Fatal(err)
		}
		if r := tryRestore(c); r.Code == 0 || !strings.Contains(r.Stderr, "/mnt/deep/t") {
			t.Errorf("a link at %s: %v", place, r)
		}
		c.AssertGone()
		out.untouched("a link at " + place)
		if err := errors.Join(os.Remove(path), os.Rename(kept, path)); err != nil {
			t.Fatal(err)
		}
	}
	c.Restore()
	if r := c.Exec("/bin/cat", "/mnt/deep/t/f"); r.Stdout != "secret\n" {
		t.Errorf("restored: %v", r)
	}
}

// TestHostileTmpfs has a container fill a tmpfs with links that lead to the host, and with names that look
// like paths: they are saved and made again as links, and nothing is followed.
func TestHostileTmpfs(t *testing.T) {
	t.Parallel()
	out := newBystander(t)
	c := holding(t, "cd /dev/shm && ln -s "+out.dir+" dir && ln -s "+out.file+" file && ln -s ../../../../../../.."+out.file+" up && mkdir d && ln -s "+out.dir+" d/again && echo x > '-'", rig.Config{})
	c.Checkpoint()
	c.AssertGone()
	out.untouched("checkpoint")
	c.Restore()
	out.untouched("restore")
	if r := c.Exec("/bin/sh", "-c", "cd /dev/shm && for l in dir file up d/again; do readlink $l; done && cat ./-"); r.Code != 0 ||
		r.Stdout != strings.Join([]string{out.dir, out.file, "../../../../../../.." + out.file, out.dir, "x"}, "\n")+"\n" {
		t.Errorf("restored: %v", r)
	}
}

// TestHostileHook: a file whose link leads to the host is no trigger, and the socket for requests is
// mounted nowhere but in the container.
func TestHostileHook(t *testing.T) {
	t.Parallel()
	out := newBystander(t)
	t.Run("trigger", func(t *testing.T) {
		t.Parallel()
		c := idle(t, rig.Config{})
		for name, target := range map[string]string{"abs": out.file, "up": "../../../../../../../../.." + out.file, "magic": "/proc/1/root/bin/sh"} {
			if err := os.Symlink(target, filepath.Join(c.StateDir, name)); err != nil {
				t.Fatal(err)
			}
			setAnnotations(t, c, "checkpoint.file=/state/"+name)
			runIdle(t, c)
			now := time.Now()
			// As new as can be.
			if err := os.Chtimes(filepath.Join(c.StateDir, "."), now, now); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
			if s, _ := hookStatus(t, c); len(s.Images) > 0 {
				t.Errorf("%s: an image was taken: %+v", name, s)
			}
			c.Delete()
		}
	})
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		mine := newBystander(t)
		for name, make := range map[string]func(rootfs string) error{
			"a link in the place of /run": func(r string) error { return os.Symlink(mine.dir, filepath.Join(r, "run")) },
			"a link in the place of the socket": func(r string) error {
				return errors.Join(os.Mkdir(filepath.Join(r, "run"), 0o755), os.Symlink(mine.file, filepath.Join(r, "run", "rethaw.sock")))
			},
			"a link to where nothing is": func(r string) error {
				return errors.Join(os.Mkdir(filepath.Join(r, "run"), 0o755), os.Symlink(filepath.Join(mine.dir, "new"), filepath.Join(r, "run", "rethaw.sock")))
			},
		} {
			c := idle(t, rig.Config{})
			c.EditSpec(func(s *runtimespec.Spec) {
				s.Mounts = slices.DeleteFunc(s.Mounts, func(m runtimespec.Mount) bool { return m.Destination == "/run" })
			})
			run := filepath.Join(c.Bundle, "rootfs", "run")
			if err := errors.Join(os.RemoveAll(run), make(filepath.Join(c.Bundle, "rootfs"))); err != nil {
				t.Fatal(err)
			}
			setAnnotations(t, c, "checkpoint.on-request=true")
			r := c.Runtime("run", "--detach", "--bundle", c.Bundle, c.ID)
			if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "rethaw") {
				t.Errorf("%s: %v", name, r)
				c.Delete()
			}
			mine.untouched(name)
			if strings.Contains(mounts(t), mine.dir) {
				t.Errorf("%s: something is mounted in %s", name, mine.dir)
			}
		}
	})
}

// mounts lists what is mounted on the host.
func mounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

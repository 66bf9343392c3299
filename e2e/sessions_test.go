package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// withEnv adds to the environment of a container's first task, and of what is executed later.
func withEnv(env ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, env...) }
}

// counts sees that a program writes "NONCE N" into /state/out each time that it is told to, counting itself.
type counts struct {
	c        *rig.Container
	tell     func(t *testing.T)
	nonce    string
	n, saved int
}

// subject begins with the first line, which tells the nonce.
func (k *counts) subject(t *testing.T) *subject {
	t.Helper()
	first := k.line(t)
	nonce, n, _ := strings.Cut(first, " ")
	if len(nonce) < 16 || n != "1" {
		t.Fatalf("the first line is %q", first)
	}
	k.nonce, k.n = nonce, 1
	return &subject{
		Container: k.c, verify: k.verify, rewind: func() { k.n = k.saved },
		load: func(t *testing.T) {
			for range 3 {
				k.verify(t, "under load")
			}
			k.saved = k.n
		},
	}
}

func (k *counts) line(t *testing.T) string {
	t.Helper()
	path := filepath.Join(k.c.StateDir, "out")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	k.tell(t)
	return awaitFile(t, k.c, "out")
}

func (k *counts) verify(t *testing.T, when string) {
	t.Helper()
	k.n++
	if got, want := k.line(t), fmt.Sprintf("%s %d", k.nonce, k.n); got != want {
		t.Errorf("%s: it says %q, want %q", when, got, want)
	}
}

// must has a program of the container's run to its end.
func must(t *testing.T, c *rig.Container, args ...string) string {
	t.Helper()
	r := c.Exec(args...)
	if r.Code != 0 {
		t.Fatalf("%v", r)
	}
	return r.Stdout
}

const (
	// drawNonce and sayCount are lines for a shell.
	drawNonce = `N=$(od -An -N8 -tx8 /dev/urandom | tr -d ' '); echo "mark-$N"`
	sayCount  = `n=$((n + 1)); echo "$N $n" >/state/new; mv /state/new /state/out`
)

// TestTerminals: shells in terminals that another program keeps.
func TestTerminals(t *testing.T) {
	t.Parallel()
	t.Run("tmux", func(t *testing.T) {
		t.Parallel()
		tmux := []string{"/usr/bin/tmux", "-S", "/tmp/tmux", "-f", "/dev/null"}
		c := theRig(t).New(t, rig.Config{Args: append(tmux, "-D"), HostUsr: true, Edit: withEnv("LC_ALL=C.UTF-8", "TERM=linux")})
		c.Run()
		do := func(t *testing.T, args ...string) string { t.Helper(); return must(t, c, append(tmux, args...)...) }
		rig.Eventually(t, startTimeout, "the session", func() bool {
			return c.Exec(append(tmux, "new-session", "-d", "-s", "s", "-x", "90", "-y", "30", "/bin/sh")...).Code == 0
		})
		write := func(t *testing.T, line string) {
			t.Helper()
			do(t, "send-keys", "-t", "s", "-l", line)
			do(t, "send-keys", "-t", "s", "Enter")
		}
		write(t, drawNonce)
		k := &counts{c: c, tell: func(t *testing.T) { t.Helper(); write(t, sayCount) }}
		s := k.subject(t)
		verify := s.verify
		s.verify = func(t *testing.T, when string) {
			t.Helper()
			verify(t, when)
			if screen := do(t, "capture-pane", "-p", "-t", "s", "-S", "-"); !strings.Contains(screen, "mark-"+k.nonce) {
				t.Errorf("%s: what was written before is not on the screen any more: %q", when, screen)
			}
		}
		s.cycle(t)
	})
	t.Run("screen", func(t *testing.T) {
		t.Parallel()
		c := theRig(t).New(t, rig.Config{
			Args: []string{"/usr/bin/screen", "-D", "-m", "-S", "s", "-c", "/dev/null", "/bin/sh"}, HostUsr: true,
			Edit: withEnv("SCREENDIR=/tmp/screens", "TERM=linux"),
		})
		if err := os.Mkdir(filepath.Join(c.Rootfs, "tmp/screens"), 0o700); err != nil {
			t.Fatal(err)
		}
		// It would put its own environment in the place of variables.
		c.WriteFile("/draw", drawNonce, 0o644)
		c.WriteFile("/say", sayCount, 0o644)
		c.Run()
		write := func(line string) bool {
			return c.Exec("/usr/bin/screen", "-S", "s", "-p", "0", "-X", "stuff", line+"\n").Code == 0
		}
		rig.Eventually(t, startTimeout, "the session", func() bool { return write(". /draw") })
		k := &counts{c: c, tell: func(t *testing.T) {
			t.Helper()
			if !write(". /say") {
				t.Fatal("screen takes no input")
			}
		}}
		k.subject(t).cycle(t)
	})
}

// TestSSH: a session over the loopback interface, both ends of which are in the container.
func TestSSH(t *testing.T) {
	t.Parallel()
	const config = "ListenAddress 127.0.0.1\nHostKey /keys/host\nAuthorizedKeysFile /keys/user.pub\nStrictModes no\nPidFile none\nPermitRootLogin yes\n"
	const script = `
mkdir /run/sshd
/usr/sbin/sshd -D -e -f /keys/config &
mkfifo /state/in
exec 5<>/state/in
until grep -q ':0016 00000000:0000 0A' /proc/net/tcp; do sleep 0.1; done # it listens
/usr/bin/ssh -i /keys/user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null root@127.0.0.1 sh /remote <&5 | while read -r line; do echo "$line" >/state/new; mv /state/new /state/out; done
`
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c", script}, HostUsr: true})
	keyDir := filepath.Join(c.Rootfs, "keys")
	if err := os.Mkdir(keyDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(keyDir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	c.WriteFile("/keys/config", config, 0o600)
	c.WriteFile("/remote", drawNonce+`; while read -r line; do n=$((n + 1)); echo "$N $n"; done`, 0o644)
	addUser(t, c, "sshd:x:110:65534::/run/sshd:/usr/sbin/nologin")
	c.Run()
	awaitFile(t, c, "out") // the mark
	k := &counts{c: c, tell: func(t *testing.T) {
		t.Helper()
		if err := sendLine(c, "in", rand.Text()); err != nil {
			t.Fatal(err)
		}
	}}
	k.subject(t).cycle(t)
}

// addUser adds a line to the container's passwd(5).
func addUser(t *testing.T, c *rig.Container, line string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.Rootfs, "etc/passwd"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}

// TestDBus: the message bus, whose name was drawn when it started, and a client that listens.
func TestDBus(t *testing.T) {
	t.Parallel()
	const address = "unix:path=/tmp/bus"
	const script = `
/usr/bin/dbus-daemon --session --nofork --nopidfile --address=` + address + ` &
until [ -S /tmp/bus ]; do sleep 0.1; done
exec /usr/bin/dbus-monitor --address ` + address + ` --profile type=signal,interface=net.example.Heard >/state/heard
`
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c", script}, HostUsr: true, Edit: withEnv("DBUS_SESSION_BUS_ADDRESS=" + address)})
	c.Run()
	id := func() string {
		return c.Exec("/usr/bin/dbus-send", "--session", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId").Stdout
	}
	heard := func() string {
		text, _ := os.ReadFile(filepath.Join(c.StateDir, "heard"))
		return string(text)
	}
	// A monitor loses its name, and hears of that first.
	rig.Eventually(t, startTimeout, "the listener", func() bool { return strings.Contains(heard(), "NameLost") })
	nonce := strings.TrimSpace(id())
	if len(nonce) != 32 {
		t.Fatalf("the bus is called %q", nonce)
	}
	verify := func(t *testing.T, when string) {
		t.Helper()
		if got := strings.TrimSpace(id()); got != nonce {
			t.Errorf("%s: the bus is called %q, was %q", when, got, nonce)
		}
		member := "M" + rand.Text()
		must(t, c, "/usr/bin/dbus-send", "--session", "--type=signal", "/", "net.example.Heard."+member)
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(heard(), member); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the listener has not heard of %s, but of %s", when, member, heard())
			}
		}
	}
	s := &subject{Container: c, verify: verify, load: func(t *testing.T) { verify(t, "under load") }}
	s.cycle(t)
}

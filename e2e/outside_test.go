package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	runtimespecs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// outside is a container with a server, in a network namespace that lives on
// between checkpoint and restore, as a pod's does.
type outside struct {
	*rig.Container
	netns string
	nonce string
}

func startOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{netns: rig.NetNS(t, t.TempDir())}
	o.Container = theRig(t).New(t, rig.Config{
		Args: []string{"/usr/bin/python3", "-u", "/programs/outside.py"}, HostUsr: true,
		Edit: func(s *runtimespecs.Spec) {
			for i := range s.Linux.Namespaces {
				if s.Linux.Namespaces[i].Type == runtimespecs.NetworkNamespace {
					s.Linux.Namespaces[i].Path = o.netns
				}
			}
		},
	})
	o.AddProgram("programs/outside.py", "outside.py")
	o.Run()
	rig.Eventually(t, startTimeout, "the server to listen", func() bool {
		conn, err := rig.DialIn(o.netns, "tcp4", "127.0.0.1:7000")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	c := o.dial(t)
	defer c.Close()
	o.nonce = c.ask(t, "stat")[0]
	return o
}

// client is a connection to the server whose other end is here.
type client struct {
	net.Conn
	answers *bufio.Reader
	lines   int
	nonce   string
}

func (o *outside) dial(t *testing.T) *client {
	t.Helper()
	conn, err := rig.DialIn(o.netns, "tcp4", "127.0.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, answers: bufio.NewReader(conn), nonce: o.nonce}
}

func (c *client) say(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c, line); err != nil {
		t.Errorf("say %q: %v", line, err)
	}
	c.lines++
}

// hear reads one answer, in words.
func (c *client) hear(t *testing.T) []string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := c.answers.ReadString('\n')
	if err != nil {
		t.Errorf("hear: %q, %v", answer, err)
	}
	return append(strings.Fields(answer), "", "", "")
}

func (c *client) ask(t *testing.T, line string) []string {
	t.Helper()
	c.say(t, line)
	return c.hear(t)
}

// talk asks and checks the answer.
func (c *client) talk(t *testing.T, line string) {
	t.Helper()
	c.say(t, line)
	c.check(t, c.lines, line)
}

func (c *client) check(t *testing.T, number int, line string) {
	t.Helper()
	if got, want := c.hear(t), fmt.Sprintf("%s %d %s", c.nonce, number, line); strings.TrimSpace(strings.Join(got, " ")) != want {
		t.Errorf("said %q, heard %.80q, want %.80q", line, got, want)
	}
}

// TestOutside: connections whose other end is not in the container.
func TestOutside(t *testing.T) {
	t.Parallel()
	t.Run("kept", func(t *testing.T) {
		t.Parallel()
		o := startOutside(t)
		c, held, shut := o.dial(t), o.dial(t), o.dial(t)
		c.talk(t, "first")
		for i := range 3 {
			held, shut = o.dial(t), o.dial(t)
			held.talk(t, "hold")
			if err := held.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			shut.talk(t, "shut")
			time.Sleep(200 * time.Millisecond)
			o.Checkpoint("--tcp-established")
			o.AssertGone()
			c.say(t, "while it was away"+strings.Repeat("x", i*20000))
			time.Sleep(300 * time.Millisecond)
			o.Restore("--tcp-established")
			c.check(t, c.lines, "while it was away"+strings.Repeat("x", i*20000))
			c.talk(t, "after")
			c.talk(t, "go")
			if got := held.hear(t); got[0] != o.nonce || got[1] != "bye" {
				t.Errorf("the connection that we ended: heard %q", got)
			}
			shut.say(t, "still read")
			shut.Close()
			held.Close()
		}
		o.Checkpoint("--tcp-established", "--leave-running")
		c.talk(t, "left running")
		rig.Eventually(t, 5*time.Second, "all lines to be read", func() bool {
			got := c.ask(t, "stat")
			return got[0] == o.nonce && strings.Count(got[2], "end") >= 6 && !strings.Contains(got[2], "Error")
		})
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		o := startOutside(t)
		c := o.dial(t)
		c.talk(t, "first")
		result := o.TryRethaw("checkpoint", "--image", o.Image, o.ID)
		if result.Code != 5 || !strings.Contains(result.Stderr, "--tcp-established") {
			t.Errorf("checkpoint with a connection outside: %v", result)
		}
		c.talk(t, "nothing happened")
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		o := startOutside(t)
		c := o.dial(t)
		c.talk(t, "first")
		o.Checkpoint("--tcp-close")
		o.AssertGone()
		o.Restore()
		again := o.dial(t)
		rig.Eventually(t, 5*time.Second, "the reset to be seen", func() bool {
			got := again.ask(t, "stat")
			return got[0] == o.nonce && strings.Contains(got[2], "ConnectionResetError")
		})
	})
	t.Run("closed at restore", func(t *testing.T) {
		t.Parallel()
		o := startOutside(t)
		c := o.dial(t)
		c.talk(t, "first")
		o.Checkpoint("--tcp-established")
		o.AssertGone()
		o.Restore("--tcp-close")
		again := o.dial(t)
		rig.Eventually(t, 5*time.Second, "the reset to be seen", func() bool {
			got := again.ask(t, "stat")
			return got[0] == o.nonce && strings.Contains(got[2], "ConnectionResetError")
		})
	})
}

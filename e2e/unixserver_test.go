package e2e

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// startUnixServer runs the server of programs/unixserver.py.
func startUnixServer(t *testing.T, config rig.Config) *rig.Program {
	t.Helper()
	config.Args, config.HostUsr = []string{"/usr/bin/python3", "-u", "/programs/unixserver.py"}, true
	p := theRig(t).New(t, config).Program()
	p.AddProgram("programs/unixserver.py", "unixserver.py")
	p.Run()
	p.WaitReady()
	return p
}

// TestUnixServer: an asyncio server on a unix socket with connected clients, all
// in the container.
func TestUnixServer(t *testing.T) {
	t.Parallel()
	p := startUnixServer(t, rig.Config{})
	s := subject{
		Container: p.Container,
		rewind:    p.Rewind,
		verify:    func(t *testing.T, when string) { t.Helper(); p.Check(when) },
	}
	s.cycle(t)
}

// TestUnixOutside: as long as a client of the host is connected the checkpoint is
// refused, by its name; afterwards the server is reached from the host as before.
func TestUnixOutside(t *testing.T) {
	t.Parallel()
	p := startUnixServer(t, rig.Config{Env: []string{"SOCKET=/state/server"}})
	at := &net.UnixAddr{Net: "unix", Name: filepath.Join(p.StateDir, "server")}
	ask := func() net.Conn {
		t.Helper()
		c, err := net.DialUnix("unix", nil, at)
		if err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 3)
		c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Write([]byte("41\n"))
		if _, rerr := io.ReadFull(c, answer); err != nil || rerr != nil || string(answer) != "42\n" {
			t.Fatalf("the server answers %q: %v", answer, errors.Join(err, rerr))
		}
		return c
	}
	c := ask()
	r := tryCheckpoint(p.Container)
	for _, want := range []string{"(python3): fd ", "socket:[", "outside the container", "end that connection"} {
		if r.Code != exitUnsupported || !strings.Contains(r.Stderr, want) {
			t.Errorf("%q is not in the refusal: %v", want, r)
		}
	}
	p.Check("refused")
	c.Close()
	p.Check("the client has left")
	p.Checkpoint()
	p.AssertGone()
	p.Restore()
	p.Check("restored")
	ask().Close()
}

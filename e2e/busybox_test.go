package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// shellScript reads lines from a FIFO and answers each with a nonce, a count, and
// the answer of a child that it talks to through a FIFO of its own. Two children
// sleep, another waits for input in a pipeline.
const shellScript = `
nonce=$(hexdump -n 8 -e '2/4 "%08x"' /dev/urandom)
mkfifo /tmp/ask /tmp/answer /state/in
exec 3<>/tmp/ask 4<>/tmp/answer 5<>/state/in
(m=0; while read -r line <&3; do m=$((m + 1)); echo "$m" >&4; done) &
sleep 1000000 &
sleep 1000000 | cat &
trap 'echo hangup' HUP
n=0
echo "$nonce" >/state/ready.tmp
mv /state/ready.tmp /state/ready
while read -r line <&5; do
	n=$((n + 1))
	echo "$line" >&3
	read -r m <&4
	echo "$nonce $n $m $line" >/state/out.tmp
	mv /state/out.tmp /state/out
	echo "answered $n"
done
`

// TestShell: busybox, a loop and children.
func TestShell(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "/loop.sh"}, Stdio: kind})
		c.WriteFile("/loop.sh", shellScript, 0o644)
		c.Run()
		shell := &shell{c: c, nonce: awaitFile(t, c, "ready")}
		return &subject{
			Container: c,
			load: func(t *testing.T) {
				for range 20 {
					shell.verify(t, "under load")
				}
				shell.loaded = shell.count
			},
			verify: shell.verify,
			rewind: func() { shell.count = shell.loaded },
		}
	})
}

// awaitFile waits for a file in /state and returns its content.
func awaitFile(t *testing.T, c *rig.Container, name string) string {
	t.Helper()
	var text []byte
	rig.Eventually(t, startTimeout, "/state/"+name, func() (ok bool) {
		var err error
		text, err = os.ReadFile(filepath.Join(c.StateDir, name))
		return err == nil
	})
	return strings.TrimSpace(string(text))
}

// shell is the client's side of shellScript.
type shell struct {
	c             *rig.Container
	nonce         string
	count, loaded int
}

// verify has one line answered.
func (s *shell) verify(t *testing.T, when string) {
	t.Helper()
	s.count++
	line := fmt.Sprintf("line-%d-%d", s.count, time.Now().UnixNano())
	if err := sendLine(s.c, "in", line); err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	want := fmt.Sprintf("%s %d %d %s", s.nonce, s.count, s.count, line)
	got := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(s.c.StateDir, "out"))
		if got = strings.TrimSpace(string(text)); err == nil && got == want {
			return
		}
	}
	t.Errorf("%s: the shell answers %q, want %q", when, got, want)
}

// sendLine writes into a FIFO in /state that the container has open.
func sendLine(c *rig.Container, name, line string) error {
	// Without O_NONBLOCK this would wait for a reader that may be dead.
	fifo, err := os.OpenFile(filepath.Join(c.StateDir, name), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer fifo.Close()
	_, err = fmt.Fprintln(fifo, line)
	return err
}

// TestBusyShell checkpoints a shell that never rests: children come and go all the
// time, and it counts into a file without a gap.
func TestBusyShell(t *testing.T) {
	t.Parallel()
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c",
		`n=0; while :; do n=$((n + 1)); echo $n >>/state/count; x=$(echo $n | cat); [ "$x" = $n ] || echo wrong $x >>/state/count; sleep 0.01; done`}})
	c.Run()
	awaitFile(t, c, "count")
	for i := range 2 * rounds {
		time.Sleep(100*time.Millisecond + time.Duration(i)*1700*time.Microsecond)
		if !dryRun() {
			c.Checkpoint()
			c.AssertGone()
		}
		before := counted(t, c)
		if !dryRun() {
			c.Restore()
		}
		rig.Eventually(t, 10*time.Second, "the shell to count on", func() bool { return counted(t, c) > before+5 })
	}
}

// counted sees that a file holds 1, 2, 3... and returns the last.
func counted(t *testing.T, c *rig.Container) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.StateDir, "count"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line != strconv.Itoa(n)+"\n" {
			t.Fatalf("line %d of the count is %q", n, line)
		}
	}
	return n
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/console"
	"github.com/rethaw/rethaw/e2e/rig"
)

// seatSize is that of most terminals here.
var seatSize = console.WinSize{Height: 40, Width: 120}

// TestSeat is a user at a shell with jobs, whose container is frozen and thawed under
// him: each time he sits at another terminal.
func TestSeat(t *testing.T) {
	t.Parallel()
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh"}, Stdio: rig.Terminal})
	seat := c.Sit(seatSize, theRig(t).Runtime, "--root", c.Root, "run", "--bundle", c.Bundle, c.ID)
	seat.Await("# ")
	nonce := fmt.Sprintf("nonce%d", time.Now().UnixNano())
	seat.Type("N=" + nonce + "; sleep 1001 &\n")
	seat.Await("# ")
	seat.Type("sleep 1002\n")
	seat.Await("1002")
	time.Sleep(200 * time.Millisecond)
	seat.Type("\x1a") // stops it
	seat.Await("Stopped")
	for i := range rounds {
		seat.Type("cat\n")
		seat.Await("cat")
		time.Sleep(200 * time.Millisecond)
		c.Checkpoint()
		c.AssertGone()
		if code := seat.Wait(); code == 0 {
			t.Errorf("the former seat ends as if nothing had happened")
		}
		seat = c.SitRestored(seatSize)
		line := fmt.Sprintf("round-%d", i)
		seat.Type(line + "\n")
		seat.Await(line) // typed
		seat.Await(line) // from cat
		seat.Type("\x03")
		seat.Await("^C")
		seat.Await("# ")
		seat.Type("jobs\n")
		seat.Await("Stopped")
		seat.Await("sleep 1002")
		seat.Await("Running")
		seat.Type("echo $N $(tty) $(stty size) </dev/tty\n")
		seat.Await("# ")
		seat.Await(nonce + " /dev/pts/0 40 120")
	}
	seat.Type("fg %2\n")
	seat.Await("1002")
	time.Sleep(200 * time.Millisecond)
	seat.Type("\x03")
	seat.Await("# ")
	seat.Resize(console.WinSize{Height: 50, Width: 100})
	time.Sleep(200 * time.Millisecond)
	seat.Type("stty size\n")
	seat.Await("50 100")
	seat.Type("kill %1; exit 7\n")
	if code := seat.Wait(); code != 7 {
		t.Errorf("the restore in the foreground ends with %d, the shell with 7", code)
	}
}

// TestResized restores onto a terminal of another size: the program is told.
func TestResized(t *testing.T) {
	t.Parallel()
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c",
		`trap 'stty size >/state/size' WINCH; echo $$ >/state/ready; while :; do sleep 0.1; done`}, Stdio: rig.Terminal})
	seat := c.Sit(seatSize, theRig(t).Runtime, "--root", c.Root, "run", "--bundle", c.Bundle, c.ID)
	awaitFile(t, c, "ready")
	c.Checkpoint()
	seat.Wait()
	c.SitRestored(console.WinSize{Height: 30, Width: 90})
	rig.Eventually(t, 5*time.Second, "the new size", func() bool { return said(c, "size") == "30 90" })
}

// said reads a file of /state.
func said(c *rig.Container, name string) string {
	text, err := os.ReadFile(filepath.Join(c.StateDir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// entering answers each line of a FIFO in /state by one at its standard output, and
// in /state by whether that went well.
const entering = `trap '' HUP; mkfifo /state/%[1]s; exec 3<>/state/%[1]s; echo up >/state/%[1]s.up
while read -r l <&3; do if echo "heard $l"; then r=heard; else r=deaf; fi; echo "$r $l" >/state/%[1]s.out; done 2>/dev/null`

// TestEntered has tasks in the container that came from outside, with streams of
// their own. Who was at the other end is gone after a restore: pipes and files
// are joined to the container's own, a terminal has hung up.
func TestEntered(t *testing.T) {
	t.Parallel()
	c := theRig(t).New(t, rig.Config{Args: []string{"/bin/sh", "-c", fmt.Sprintf(entering, "init")}})
	c.Run()
	awaitFile(t, c, "init.up")
	enter := func(name string, flags ...string) *rig.Seat {
		args := append(append([]string{"--root", c.Root, "exec"}, flags...), c.ID, "/bin/sh", "-c", fmt.Sprintf(entering, name))
		seat := c.Sit(seatSize, theRig(t).Runtime, args...)
		awaitFile(t, c, name+".up")
		return seat
	}
	seat := enter("sitting", "--tty")
	pipes := enter("piped") // the runtime puts pipes before our terminal
	ask := func(name, line, want string) {
		t.Helper()
		if err := sendLine(c, name, line); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, 5*time.Second, name+" to say "+want, func() bool { return said(c, name+".out") == want+" "+line })
	}
	ask("sitting", "a", "heard")
	seat.Await("heard a")
	ask("piped", "b", "heard")
	pipes.Await("heard b")
	for i := range rounds {
		c.Checkpoint()
		c.AssertGone()
		if i == 0 {
			seat.Wait()
			pipes.Wait()
		}
		c.Restore()
		ask("init", fmt.Sprintf("init-%d", i), "heard")
		ask("piped", fmt.Sprintf("piped-%d", i), "heard")
		ask("sitting", fmt.Sprintf("sitting-%d", i), "deaf")
		for _, name := range []string{"init", "piped"} {
			rig.Eventually(t, 5*time.Second, "the line of "+name, func() bool {
				return strings.Contains(c.Output(), fmt.Sprintf("heard %s-%d\n", name, i))
			})
		}
	}
}

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// thePodman returns a podman that can run containers here, with these state programs in
// its image.
func thePodman(t *testing.T, programs ...string) *rig.Podman {
	t.Helper()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p, err := theRig(t).Podman(t, programs...)
	if err != nil {
		t.Skipf("no podman: %v", err)
	}
	return p
}

// counting is a command that writes a number a tenth of a second, beginning with 0 when it
// is started.
func counting() []string {
	return []string{"/bin/sh", "-c", "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done"}
}

// ok fails the test unless a command went well.
func ok(t *testing.T, r rig.Result) rig.Result {
	t.Helper()
	if r.Code != 0 {
		t.Fatalf("%v", r)
	}
	return r
}

// awaitLog waits until the log of a container has a line that it had not.
func awaitLog(t *testing.T, p *rig.Podman, name string) string {
	t.Helper()
	before := p.Must("logs", name)
	var after string
	rig.Eventually(t, 10*time.Second, "a new line in the log of "+name, func() bool {
		after = p.Must("logs", name)
		return len(after) > len(before)
	})
	return after
}

// assertStatus wants podman to say that a container is in a state.
func assertStatus(t *testing.T, p *rig.Podman, name, want string) {
	t.Helper()
	if got := p.State(name, "{{.State.Status}}"); got != want {
		t.Errorf("podman says that %s is %q, want %q", name, got, want)
	}
}

// TestPodman: a container of podman, found by its name, goes through three rounds and one
// with the original left running; podman sees it end and run, and works with it.
func TestPodman(t *testing.T) {
	t.Parallel()
	p := thePodman(t, "threads")
	name := p.Name("threads")
	talk := p.RunProgram(name, "threads")
	talk.Check("before")
	for range rounds {
		ok(t, p.Rethaw("checkpoint", name))
		assertStatus(t, p, name, "exited")
		ok(t, p.Rethaw("restore", "--detach", name))
		assertStatus(t, p, name, "running")
		talk.Check("after restore")
	}
	ok(t, p.Rethaw("checkpoint", "--runtime", "podman", "--leave-running", name))
	assertStatus(t, p, name, "running")
	talk.Check("left running")
	p.Must("stop", "--time", "0", name)
	talk.Rewind()
	ok(t, p.Rethaw("restore", "--runtime", "podman", "--detach", p.State(name, "{{.Id}}")[:12]))
	talk.Check("restored after the original was stopped")

	if said := p.Must("exec", name, "/bin/echo", "hello"); said != "hello" {
		t.Errorf("podman exec: %q", said)
	}
	if said := p.Must("top", name, "args"); !strings.Contains(said, "/programs/threads") {
		t.Errorf("podman top: %q", said)
	}
	refused(t, p.Rethaw("restore", "--detach", name), exitState, "is running", "podman stop")
	// A task of podman exec, and all of it paused.
	p.Must("exec", "--detach", name, "/bin/sleep", "1000000")
	p.Must("pause", name)
	ok(t, p.Rethaw("checkpoint", "--leave-running", name))
	assertStatus(t, p, name, "paused")
	ok(t, p.Rethaw("checkpoint", name))
	assertStatus(t, p, name, "exited")
	ok(t, p.Rethaw("restore", "--detach", name))
	talk.Check("restored after a pause")
	if said := p.Must("top", name, "args"); !strings.Contains(said, "sleep 1000000") {
		t.Errorf("the task of podman exec is not there: %q", said)
	}
	p.Must("stop", "--time", "0", name)
	assertStatus(t, p, name, "exited")
	refused(t, p.Rethaw("checkpoint", name), exitState, name, "is stopped")
	p.Must("rm", name)
	refused(t, p.Rethaw("restore", "--runtime", "podman", "--detach", name), exitNotFound, name, "podman create")
}

// TestPodmanLogs: conmon goes on with the log, from pipes and from a terminal, and the
// program does not begin anew.
func TestPodmanLogs(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	for _, kind := range []struct{ name, flag string }{{"pipes", "--tty=false"}, {"terminal", "--tty"}, {"stdin", "--interactive"}} {
		t.Run(kind.name, func(t *testing.T) {
			name := p.Name(kind.name)
			p.Make("run", name, []string{"--detach", "--network", "none", kind.flag}, counting()...)
			rig.Eventually(t, 10*time.Second, "ticks", func() bool { return strings.Count(p.Must("logs", name), "tick") > 2 })
			for range 2 {
				ok(t, p.Rethaw("checkpoint", name))
				ok(t, p.Rethaw("restore", "--detach", name))
				awaitLog(t, p, name)
			}
			lines := strings.Fields(strings.ReplaceAll(p.Must("logs", name), "tick", ""))
			for i, line := range lines {
				if line != fmt.Sprint(i) {
					t.Fatalf("line %d of the log is %q: the count did not go on\n%v", i, line, lines)
				}
			}
		})
	}
}

// TestPodmanForeground: without --detach rethaw stays as podman start --attach does.
func TestPodmanForeground(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	name := p.Name("fg")
	p.Make("run", name, []string{"--detach", "--network", "none"},
		"/bin/sh", "-c", "i=0; while [ ! -e /go ]; do sleep 0.1; i=$((i+1)); done; echo end $i; exit 7")
	ok(t, p.Rethaw("checkpoint", name))
	// The writable layer is the container's: a file may come into it between.
	p.Must("cp", "/etc/hostname", name+":/go")
	r := p.Rethaw("restore", name)
	if r.Code != 7 || !strings.HasPrefix(r.Stdout, "end ") {
		t.Errorf("restored in the foreground: %v", r)
	}
	assertStatus(t, p, name, "exited")
}

// TestPodmanNetwork: bridge network with a published port, and a volume.
func TestPodmanNetwork(t *testing.T) {
	p := thePodman(t)
	name, port := p.Name("web"), freePort(t)
	r := p.Run("run", "--detach", "--name", p.Name("probe"), "--publish", fmt.Sprintf("127.0.0.1:%d:80", port), p.Image, "/bin/sleep", "1000000")
	if r.Code != 0 {
		t.Skipf("podman can make no bridge network here: %s", r.Stderr)
	}
	p.Must("rm", "--force", "--time", "0", p.Name("probe"))
	p.Make("run", name, []string{"--detach", "--publish", fmt.Sprintf("127.0.0.1:%d:80", port), "--volume", p.Name("data") + ":/data"},
		"/bin/sh", "-c", "echo hi > /data/index.html; exec /bin/httpd -f -h /data -p 80")
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	get := func(when string) {
		t.Helper()
		rig.Eventually(t, 10*time.Second, "an answer "+when, func() bool {
			client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Get(url)
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			return answer.StatusCode == http.StatusOK
		})
	}
	get("before")
	for range 2 {
		ok(t, p.Rethaw("checkpoint", name))
		ok(t, p.Rethaw("restore", "--detach", name))
		get("after restore")
	}
}

// TestPodmanRestart: a restart policy does not bring a fresh program after a checkpoint, nor
// after a restore that fails.
func TestPodmanRestart(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	image := filepath.Join(t.TempDir(), "image")
	source, into := p.Name("source"), p.Name("into")
	p.Make("run", source, []string{"--detach", "--restart", "always", "--network", "none"},
		"/bin/sh", "-c", "echo x > /held; exec 5< /held; echo fresh; while :; do sleep 1; done")
	rig.Eventually(t, 10*time.Second, "the program", func() bool { return p.Must("logs", source) == "fresh" })
	ok(t, p.Rethaw("checkpoint", "--image", image, source))
	time.Sleep(time.Second)
	assertStatus(t, p, source, "exited")
	// Its writable layer lacks the file.
	p.Make("create", into, []string{"--restart", "always", "--network", "none"}, "/bin/sh", "-c", "echo wrong; sleep 1000000")
	r := p.Rethaw("restore", "--detach", "--image", image, into)
	if r.Code == 0 || !strings.Contains(r.Stderr, "/held") {
		t.Errorf("restored without its file: %v", r)
	}
	time.Sleep(time.Second)
	assertStatus(t, p, into, "exited")
	if said := p.Must("logs", into); said != "" {
		t.Errorf("a fresh program ran: %q", said)
	}
	ok(t, p.Rethaw("restore", "--detach", "--image", image, source))
	assertStatus(t, p, source, "running")
}

// TestPodmanRemove: the image of a container made with --rm would be lost with it.
func TestPodmanRemove(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	name, image := p.Name("rm"), filepath.Join(t.TempDir(), "image")
	p.Make("run", name, []string{"--detach", "--rm", "--network", "none"}, counting()...)
	refused(t, p.Rethaw("checkpoint", name), exitUnsupported, name, "--rm", "--image")
	assertStatus(t, p, name, "running")
	ok(t, p.Rethaw("checkpoint", "--image", image, name))
	rig.Eventually(t, 10*time.Second, "podman to remove it", func() bool { return p.Run("container", "exists", name).Code == 1 })
	p.Make("create", name, []string{"--network", "none"}, counting()...)
	ok(t, p.Rethaw("restore", "--image", image, "--detach", name))
	if said := awaitLog(t, p, name); strings.Contains(said, "tick 0\n") {
		t.Errorf("it began anew:\n%s", said)
	}
}

// TestPodmanMany: all, the latest, and copies by annotation.
func TestPodmanMany(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	var names []string
	for i := range 3 {
		names = append(names, p.Name(fmt.Sprint("m", i)))
		p.Make("run", names[i], []string{"--detach", "--network", "none"}, counting()...)
	}
	awaitLog(t, p, names[2])
	if r := ok(t, p.Rethaw("checkpoint", "--runtime", "podman", "--all")); len(strings.Fields(r.Stdout)) != 3 {
		t.Errorf("three containers: %v", r)
	}
	if r := ok(t, p.Rethaw("restore", "--runtime", "podman", "--all", "--detach")); len(strings.Fields(r.Stdout)) != 3 {
		t.Errorf("three containers: %v", r)
	}
	for _, name := range names {
		assertStatus(t, p, name, "running")
	}
	ok(t, p.Rethaw("checkpoint", "--runtime", "podman", "--latest", "--keep"))
	assertStatus(t, p, names[2], "exited")
	image := filepath.Join(p.Root, "overlay-containers", p.State(names[2], "{{.Id}}"), "userdata", "checkpoint")
	if info, err := os.Stat(image + ".log"); err != nil || info.Size() == 0 {
		t.Errorf("--keep left no log: %v", err)
	}
	if r := ok(t, p.Rethaw("hook", "install", "--dir", p.Hooks)); r.Stdout == "" {
		t.Errorf("%v", r)
	}
	for i := range 3 {
		copied := p.Name(fmt.Sprint("copy", i))
		p.Make("run", copied, []string{"--detach", "--network", "none", "--annotation", "dev.rethaw.restore=" + image}, "/bin/echo", "fresh")
		if said := awaitLog(t, p, copied); strings.Contains(said, "fresh") || strings.Contains(said, "tick 0\n") {
			t.Errorf("it began anew:\n%s", said)
		}
	}
}

// freePort is a port of the host that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestPodmanUserNamespace: the container's users are others on the host (--uidmap), and so are the owners of what it has in
// its tmpfs.
func TestPodmanUserNamespace(t *testing.T) {
	t.Parallel()
	p := thePodman(t)
	name := p.Name("users")
	flags := []string{"--detach", "--network", "none", "--uidmap", "0:200000:5000", "--gidmap", "0:300000:5000", "--user", "1000:1000", "--tmpfs", "/scratch:mode=1777"}
	p.Make("run", name, flags, "/bin/sh", "-c", "echo mine >/scratch/file; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done")
	awaitLog(t, p, name)
	for range rounds {
		ok(t, p.Rethaw("checkpoint", name))
		ok(t, p.Rethaw("restore", "--detach", name))
		awaitLog(t, p, name)
		if said := p.Must("exec", name, "/bin/stat", "-c", "%u %g", "/scratch/file"); said != "1000 1000" {
			t.Errorf("the file belongs to %q, not to 1000 1000", said)
		}
		status, err := os.ReadFile("/proc/" + p.State(name, "{{.State.Pid}}") + "/status")
		if err != nil || !strings.Contains(string(status), "Uid:\t201000\t201000\t201000\t201000\n") || !strings.Contains(string(status), "Gid:\t301000\t301000\t301000\t301000\n") {
			t.Errorf("its users are others: %v\n%s", err, status)
		}
	}
	for i, line := range strings.Fields(strings.ReplaceAll(p.Must("logs", name), "tick", "")) {
		if line != fmt.Sprint(i) {
			t.Fatalf("line %d of the log is %q: the count did not go on", i, line)
		}
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rethaw/rethaw/e2e/rig"
)

type podmanHost struct {
	*rig.Podman
	name string
}

func (h podmanHost) exec(args ...string) rig.Result {
	return h.Run(append([]string{"exec", h.name}, args...)...)
}
func (h podmanHost) said() string { return h.Run("logs", h.name).Stdout }

// twoStores are two podmans, of which the second has only the image of the first: one that has
// what the changing program changes.
func twoStores(t *testing.T) (p, q *rig.Podman) {
	t.Helper()
	p, q = thePodman(t), thePodman(t)
	file, prepare := filepath.Join(t.TempDir(), "image.tar"), p.Name("prepare")
	p.Make("run", prepare, []string{"--network", "none"}, "/bin/sh", "-c", "mkdir -p /old/deep /dir; for f in old/deep/one old/two file dir/in; do echo $f > /$f; done")
	p.Must("commit", "--quiet", prepare, "changeable")
	p.Must("rm", prepare)
	p.Must("save", "--quiet", "--output", file, "changeable")
	q.Must("rmi", "--force", q.Image)
	q.Must("load", "--quiet", "--input", file)
	p.Image, q.Image = "changeable", "changeable"
	return p, q
}

// configured is what podman tells of how a container was made.
func configured(t *testing.T, p *rig.Podman, name string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, part := range []string{"Config", "HostConfig", "EffectiveCaps", "BoundingCaps", "Mounts", "Args", "Path"} {
		var one any
		if err := json.Unmarshal([]byte(p.State(name, "{{json ."+part+"}}")), &one); err != nil {
			t.Fatal(err)
		}
		all[part] = one
	}
	config, host := all["Config"].(map[string]any), all["HostConfig"].(map[string]any)
	delete(config, "CreateCommand")
	// Where the store has it, and how long a name is.
	delete(host["LogConfig"].(map[string]any), "Path")
	delete(host, "Binds")
	delete(config["Annotations"].(map[string]any), "io.kubernetes.cri-o.Created")
	sorted := func(key string, list []any) {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		all[key] = list
	}
	sorted("Env", config["Env"].([]any))
	byPoint := map[string]any{}
	for _, m := range all["Mounts"].([]any) {
		mount := m.(map[string]any)
		if mount["Type"] == "volume" {
			delete(mount, "Source")
		}
		// The import says that it fills volumes itself.
		mount["Options"] = strings.ReplaceAll(fmt.Sprint(mount["Options"]), " nocopy", "")
		byPoint[mount["Destination"].(string)] = mount
	}
	all["Mounts"] = byPoint
	return all
}

// TestPodmanExport carries a container to a store that has only its image: files, volumes, options; under its own
// name, and as a copy under another one.
func TestPodmanExport(t *testing.T) {
	t.Parallel()
	p, q := twoStores(t)
	name, file := p.Name("carried"), filepath.Join(t.TempDir(), "export")
	volume := name + "-volume"
	p.Make("run", name, []string{
		"--detach", "--network", "none", "--volume", volume + ":/data/vol", "--volume", "/srv/anonymous", "--env", "MARK=a b=c", "--hostname", "carried",
		"--label", "some=label", "--annotation", "some=annotation", "--memory", "256m", "--pids-limit", "99", "--ulimit", "nofile=256:512", "--ulimit", "nproc=4000:4000",
		"--cap-add", "SYS_PTRACE", "--cap-drop", "MKNOD", "--restart", "on-failure:3", "--stop-signal", "INT", "--stop-timeout", "7",
		"--shm-size", "1m", "--tmpfs", "/scratch:size=1m", "--workdir", "/home", "--security-opt", "no-new-privileges",
		"--add-host", "some:1.2.3.4", "--sysctl", "kernel.shmmni=77", "--group-add", "55", "--umask", "0027", "--log-opt", "max-size=9mb", "--interactive",
	}, changing()...)
	h := podmanHost{p, name}
	nonce := nonceOf(t, h)
	inside(t, h, "echo volume > /data/vol/f; chown 5:6 /data/vol; chmod 700 /data/vol; echo anonymous > /srv/anonymous/f; echo scratch > /scratch/f")
	before, config := inside(t, h, census), configured(t, p, name)
	ok(t, p.Rethaw("checkpoint", "--export", file, name))
	assertStatus(t, p, name, "exited")

	ok(t, q.Rethaw("restore", "--runtime", "podman", "--detach", "--import", file))
	assertStatus(t, q, name, "running")
	if diff := cmp.Diff(config, configured(t, q, name)); diff != "" {
		t.Errorf("podman made it another way:\n%s", diff)
	}
	there := podmanHost{q, name}
	if got := inside(t, there, "cat /data/vol/f /srv/anonymous/f /scratch/f; stat -c '%a %u %g' /data/vol; cat /proc/sys/kernel/shmmni; hostname"); got != "volume\nanonymous\nscratch\n700 5 6\n77\ncarried\n" {
		t.Errorf("in the volumes: %q", got)
	}
	assertCarried(t, there, nonce, before)

	// The volume has a name, and is in use.
	other := q.Name("other")
	refused(t, q.Rethaw("restore", "--runtime", "podman", "-d", "-i", file, "-n", other), exitState, volume, "--ignore-volumes")
	refused(t, q.Rethaw("restore", "--runtime", "podman", "-d", "-i", file), exitState, name, "--name")
	ok(t, q.Rethaw("restore", "--runtime", "podman", "-d", "-i", file, "-n", other, "--ignore-volumes"))
	assertCarried(t, podmanHost{q, other}, nonce, before)
	q.Must("stop", "--time", "0", other)
	// Its own files and those of the export: it can be restored once more.
	inside(t, there, "rm /data/vol/f")
	ok(t, q.Rethaw("restore", "-d", "-i", file, "--ignore-volumes", "--runtime", "podman", other))
	// /go is not of the export, and still there.
	got := ""
	rig.Eventually(t, 20*time.Second, "the program's result", func() bool {
		got = q.Must("exec", other, "/bin/cat", "/held")
		return strings.Contains(got, "two")
	})
	if got != "one\ntwo" {
		t.Errorf("/held after a second import into one container: %q", got)
	}
}

// TestPodmanExportUserNamespace: the container's users are others on the host, in its root filesystem too.
func TestPodmanExportUserNamespace(t *testing.T) {
	t.Parallel()
	p, q := twoStores(t)
	name, file := p.Name("foreigners"), filepath.Join(t.TempDir(), "export")
	p.Make("run", name, []string{"--detach", "--network", "none", "--uidmap", "0:200000:5000", "--gidmap", "0:300000:5000", "--tmpfs", "/scratch"}, changing()...)
	h := podmanHost{p, name}
	nonce := nonceOf(t, h)
	const owned = "stat -c '%u %g' /scratch/f /root/f /etc/passwd"
	inside(t, h, "echo x > /scratch/f; chown 7:8 /scratch/f; echo y > /root/f; chown 9:10 /root/f; chown 11:12 /etc/passwd")
	before, owners := inside(t, h, census), inside(t, h, owned)
	ok(t, p.Rethaw("checkpoint", "--export", file, name))
	ok(t, q.Rethaw("restore", "--runtime", "podman", "--detach", "--import", file))
	there := podmanHost{q, name}
	if got := inside(t, there, owned); got != owners {
		t.Errorf("owners are %q, were %q", got, owners)
	}
	assertCarried(t, there, nonce, before)
}

// TestPodmanImportTakesBack: what fails leaves neither container nor volume.
func TestPodmanImportTakesBack(t *testing.T) {
	t.Parallel()
	p, q := twoStores(t)
	name, file := p.Name("carried"), filepath.Join(t.TempDir(), "export")
	volume := name + "-volume"
	p.Make("run", name, []string{"--detach", "--network", "none", "--volume", volume + ":/data/vol"}, changing()...)
	nonceOf(t, podmanHost{p, name})
	ok(t, p.Rethaw("checkpoint", "-c", "none", "-e", file, name))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := file + ".bad"
	nothing := func(what string) {
		t.Helper()
		if left := q.Must("ps", "-aq") + q.Must("volume", "ls", "-q") + q.Must("mount"); left != "" {
			t.Fatalf("%s: left: %s", what, left)
		}
	}
	for name, text := range map[string][]byte{
		"cut off in the image": whole[:len(whole)-20000], "damaged changes": flip(whole, strings.Index(string(whole), "deep\n")),
	} {
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, q.Rethaw("restore", "--runtime", "podman", "-d", "-i", bad), exitImage, "import")
		nothing(name)
	}
	// Without its changes the program cannot be restored: found when podman has made all.
	if r := q.Rethaw("restore", "--runtime", "podman", "-d", "-i", file, "--ignore-rootfs"); r.Code == 0 || !strings.Contains(r.Stderr, "/held") {
		t.Errorf("%v", r)
	}
	nothing("without changes")
	q.Must("rmi", "--force", q.Image)
	refused(t, q.Rethaw("restore", "--runtime", "podman", "-d", "-i", file), exitNotFound, "changeable", "podman load")
	nothing("without an image")
}

// TestPodmanExportNetwork: a container comes back with its address and its ports, a copy with another address.
func TestPodmanExportNetwork(t *testing.T) {
	p := thePodman(t)
	name, port, file := p.Name("web"), freePort(t), filepath.Join(t.TempDir(), "export")
	publish := fmt.Sprintf("127.0.0.1:%d:80", port)
	r := p.Run("run", "--detach", "--name", name, "--cgroup-parent", p.CgroupParent(), "--publish", publish, p.Image, "/bin/httpd", "-f", "-p", "80")
	if r.Code != 0 {
		t.Skipf("podman can make no bridge network here: %s", r.Stderr)
	}
	address := "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}}{{end}}"
	had := p.State(name, address)
	ok(t, p.Rethaw("checkpoint", "-e", file, name))
	// Another one takes the next address, so that the same is no accident.
	p.Make("run", p.Name("guest"), []string{"--detach"}, "/bin/sleep", "1000000")
	p.Must("rm", name)
	ok(t, p.Rethaw("restore", "--runtime", "podman", "-d", "-i", file))
	if has := p.State(name, address); has != had {
		t.Errorf("it had the address %s and has %s", had, has)
	}
	if got := p.State(name, "{{json .HostConfig.PortBindings}}"); !strings.Contains(got, fmt.Sprint(port)) {
		t.Errorf("it publishes %s", got)
	}
	p.Must("stop", "--time", "0", name)
	other := p.Name("other")
	p.Make("run", p.Name("thief"), []string{"--detach", "--network", "podman:ip=" + strings.Fields(had)[0]}, "/bin/sleep", "1000000")
	ok(t, p.Rethaw("restore", "--runtime", "podman", "-d", "-i", file, "--name", other))
	if has := p.State(other, address); has == had || has == " " {
		t.Errorf("the copy has the address %q", has)
	}
}

package e2e

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
)

// oddCaps are what building odd state takes.
var oddCaps = []string{
	"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_NICE", "CAP_SYS_RAWIO", "CAP_BPF", "CAP_PERFMON", "CAP_IPC_LOCK", "CAP_SYS_PTRACE", "CAP_LEASE",
}

// unsupported are the modes of programs/unsupported.c, and how the refusal of each
// names it.
var unsupported = map[string]string{
	"io_uring":        "fd 3 (anon_inode:[io_uring]): is an io_uring instance",
	"io_uring-map":    "(anon_inode:[io_uring]): maps an io_uring instance",
	"userfaultfd":     "fd 3 (anon_inode:[userfaultfd]): is a userfaultfd(2)",
	"secret":          "is secret memory",
	"fanotify":        "is a fanotify(7) group",
	"netlink":         "is a netlink socket of protocol 12",
	"packet":          "is a packet(7) socket",
	"alg":             "cryptography (AF_ALG)",
	"vsock":           "is a vsock(7) socket",
	"perf":            "is an event of perf_event_open(2)",
	"bpf":             "is an object of bpf(2)",
	"mqueue":          "POSIX message queue",
	"tracer":          "is being traced",
	"tun":             "is a TUN or TAP interface",
	"pidns":           "pid namespace",
	"pidns-later":     "is another pid namespace",
	"mntns":           "is in a mnt namespace of its own",
	"netns":           "is in a net namespace of its own",
	"userns":          "is in a user namespace of its own",
	"timens-later":    "is another time namespace",
	"thread-netns":    "is in a namespace that the first thread is not in",
	"seccomp-notify":  "is the listener of a seccomp filter",
	"landlock":        "landlock domain: restricts the task",
	"landlock-fd":     "is a set of rules of landlock(7)",
	"keyring-session": "session keyring: holds keys",
	"keyring-process": "process keyring: holds keys",
	"keyring-thread":  "thread keyring: holds keys",
	"mdwe":            "PR_SET_MDWE",
	"cookie":          "core scheduling",
	"lease":           "fd 3 (/tmp/lease): holds a",
	"dnotify":         "fd 3 (/tmp): is watched for changes (F_NOTIFY",
	"aio":             "(/[aio]): maps an AIO context",
	"ldt":             "local descriptor table: has entries",
	"ports":           "I/O ports",

	"dispatch":   "system calls: are dispatched to the program",
	"hidden-cwd": "working directory (/tmp/under): is not where its path leads to",
	"hugetlbfs":  "mount /tmp/huge: is a hugetlbfs with files",
	"cgroup":     "cgroup: is another one",
}

// TestUnsupported has check and checkpoint look at each thing that cannot be saved.
// Both name it, and the same objects; the program goes on.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	for _, mode := range slices.Sorted(maps.Keys(unsupported)) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := theRig(t).NewProgram(t, "unsupported", rig.Config{
				Args: []string{mode}, Caps: oddCaps, Unconfined: true,
				Edit: func(s *specs.Spec) {
					s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
				},
			})
			p.Run()
			if why, skipped := p.Skipped(); skipped {
				t.Skip(why)
			}
			p.WaitReady()
			if mode == "cgroup" {
				moveChild(t, p.Pid())
			}
			agree(t, p.Container, unsupported[mode])
			p.Check("after refusals")
		})
	}
}

// agree wants check and checkpoint to refuse a container for the same objects, why
// among them.
func agree(t *testing.T, c *rig.Container, why string) {
	t.Helper()
	check := c.TryRethaw("check", c.ID)
	checkpoint := c.TryRethaw("checkpoint", "--image", c.Image, c.ID)
	for _, r := range []rig.Result{check, checkpoint} {
		if r.Code != exitUnsupported || !strings.Contains(r.Stdout+r.Stderr, why) {
			t.Errorf("exit code %d, want %d and %q in: %v", r.Code, exitUnsupported, why, r)
		}
	}
	for _, p := range problems(check.Stdout) {
		if !strings.Contains(p, why) {
			t.Errorf("it finds something else too: %s", p)
		}
	}
	if !strings.Contains(checkpoint.Stderr, "nothing was stopped") {
		t.Errorf("it was found too late: %v", checkpoint)
	}
	if diff := cmp.Diff(problems(check.Stdout), problems(checkpoint.Stderr)); diff != "" {
		t.Errorf("check and checkpoint do not agree (-check +checkpoint):\n%s", diff)
	}
	if _, err := os.Stat(c.Image); !os.IsNotExist(err) {
		t.Errorf("an image was left: %v", err)
	}
}

// problems are the lines that name an object.
func problems(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "task ") {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}

// moveChild puts the child of a container's init into a cgroup below the container's.
func moveChild(t *testing.T, init int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", init, init))
	if err != nil {
		t.Skip(err)
	}
	child := strings.TrimSpace(string(text))
	groups, err := os.ReadFile("/proc/" + child + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		outer := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(parts[1], "name="), parts[2])
		inner := filepath.Join(outer, "inner")
		if os.Mkdir(inner, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			_ = os.WriteFile(filepath.Join(outer, "cgroup.procs"), []byte(child), 0)
			_ = os.Remove(inner)
		})
		if os.WriteFile(filepath.Join(inner, "cgroup.procs"), []byte(child), 0) == nil {
			return
		}
	}
	t.Skip("no cgroup can be made below the container's")
}

// TestNarrowProgram: a program of 32 bits is refused by name, and goes on.
func TestNarrowProgram(t *testing.T) {
	t.Parallel()
	r := theRig(t)
	c := r.New(t, rig.Config{Args: []string{"/programs/narrow"}, Unconfined: true})
	binary := filepath.Join(t.TempDir(), "narrow")
	if err := os.WriteFile(binary, narrow(), 0o755); err != nil {
		t.Fatal(err)
	}
	c.AddProgram(binary, "narrow")
	c.Run()
	// The runtime comes back before its init has executed the program.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.Pid()))
		if err == nil && strings.TrimSpace(string(comm)) == "narrow" {
			break
		}
	}
	agree(t, c, "is one of 32 bits")
	if state, _ := c.State(); state.Status != "running" {
		t.Errorf("it is %s", state.Status)
	}
}

// narrow is a program for 32-bit x86 that waits for ever (elf(5)).
func narrow() []byte {
	code := []byte{
		0xb8, 29, 0, 0, 0, // mov eax, 29: pause
		0xcd, 0x80, // int 0x80
		0xeb, 0xf7, // again
	}
	const base, headers = 0x08048000, 52 + 32
	e := binary.LittleEndian
	b := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	b = e.AppendUint16(b, 2) // ET_EXEC
	b = e.AppendUint16(b, 3) // EM_386
	for _, word := range []uint32{1, base + headers, 52, 0, 0} {
		b = e.AppendUint32(b, word)
	}
	for _, half := range []uint16{52, 32, 1, 0, 0, 0} {
		b = e.AppendUint16(b, half)
	}
	size := uint32(headers + len(code))
	for _, word := range []uint32{1, 0, base, base, size, size, 5, 0x1000} {
		b = e.AppendUint32(b, word)
	}
	return append(b, code...)
}

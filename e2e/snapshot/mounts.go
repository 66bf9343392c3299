package snapshot

import (
	"fmt"
	"os"
	"strings"
)

// mount is one line of mountinfo, without the numbers of this boot.
type mountLine struct{ point, kind, text string }

// readMounts learns where the mounts of a task's namespace are, for mnt_id.
func (l *look) readMounts(dir string) error {
	_, err := l.mountLines(dir)
	return err
}

// mountLines parses mountinfo (proc(5)): id, parent, device, root, mount point,
// options, optional fields, "-", type, source, options of the file system.
func (l *look) mountLines(dir string) ([]mountLine, error) {
	text, err := l.text(dir, "mountinfo")
	if err != nil || text == "none" {
		return nil, err
	}
	var mounts []mountLine
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(tail) < 2 {
			return nil, fmt.Errorf("%s/mountinfo: cannot read %q", dir, line)
		}
		l.mounts[fields[0]] = fields[4]
		mounts = append(mounts, mountLine{
			point: fields[4], kind: tail[0],
			text: strings.Join([]string{fields[3], "on", fields[4], fields[5], after}, " "),
		})
	}
	return mounts, nil
}

// container looks at what belongs to the container as a whole.
func (l *look) container() (Facts, error) {
	facts := Facts{}
	mounts, err := l.mountLines(fmt.Sprintf("/proc/%d", l.init))
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(mounts))
	for i, mount := range mounts {
		lines[i] = mount.text
	}
	l.put(facts, "container", "mounts", strings.Join(lines, "\n"))
	values, err := inNamespaces(l.init, readOwn)
	if err != nil {
		return nil, err
	}
	for name, value := range values {
		l.put(facts, "container", name, value)
	}
	return facts, nil
}

// ownFiles are files of /proc whose content depends on who reads them.
var ownFiles = []string{
	"/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname",
	"/proc/sys/kernel/msgmax", "/proc/sys/kernel/msgmnb", "/proc/sys/kernel/msgmni", "/proc/sys/kernel/sem",
	"/proc/sys/kernel/shmall", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/shmmni", "/proc/sys/kernel/shm_rmid_forced",
	"/proc/sys/fs/mqueue/msg_max", "/proc/sys/fs/mqueue/queues_max", "/proc/sys/net/core/somaxconn",
	"/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ip_local_port_range",
}

func readOwn() (map[string]string, error) {
	values := map[string]string{}
	for _, path := range ownFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a kernel without it
		}
		values[strings.TrimPrefix(path, "/proc/sys/")] = strings.TrimSpace(string(text))
	}
	return values, nil
}

package snapshot

import (
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/ns"
)

// inNamespaces calls f inside the UTS, IPC and network namespaces of a task.
func inNamespaces[T any](pid int, f func() (T, error)) (value T, err error) {
	err = ns.Enter(pid, ns.UTS|ns.IPC|ns.Net, func() error {
		value, err = f()
		return err
	})
	return value, err
}

// ipcSkip are columns of /proc/sysvipc that hold pids and times, or that change by
// themselves.
var ipcSkip = map[string]bool{
	"cpid": true, "lpid": true, "lspid": true, "lrpid": true, "atime": true, "dtime": true, "ctime": true,
	"stime": true, "rtime": true, "otime": true, "rss": true, "swap": true,
}

// ipc lists the System V objects of the container.
func (l *look) ipc() ([]string, error) {
	return inNamespaces(l.init, func() ([]string, error) {
		var all []string
		for _, kind := range []string{"shm", "sem", "msg"} {
			text, err := os.ReadFile("/proc/sysvipc/" + kind)
			if err != nil {
				continue // a kernel without System V IPC
			}
			var head []string
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(line)
				if head == nil {
					head = fields
					continue
				}
				facts := []string{kind}
				for i, field := range fields {
					if i < len(head) && !ipcSkip[head[i]] {
						facts = append(facts, head[i]+"="+field)
					}
				}
				all = append(all, strings.Join(facts, " "))
			}
		}
		return all, nil
	})
}

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/watchdog"
	"golang.org/x/sys/unix"
)

// listing are the host pids of a target at a moment. To look through the whole of /proc for them takes some
// microseconds for each process of the machine.
type listing struct {
	pids []int
	at   time.Time
}

// fresh is how long a listing may be relied on.
const fresh = 50 * time.Millisecond

// recent gives the pids, nil if it is too long ago.
func (l *listing) recent() []int {
	if time.Since(l.at) > fresh {
		return nil
	}
	return l.pids
}

// listPids finds the host pids of the target's processes: those of the pid
// namespace of its init, or the descendants of a host tree's root.
func (t *Target) listPids() ([]int, error) {
	if t.Host {
		return descendants(t.Init)
	}
	ns, err := procfs.PIDNamespace(t.Init)
	if err != nil {
		return nil, err
	}
	own, err := procfs.PIDNamespace(os.Getpid())
	if err != nil {
		return nil, err
	}
	if ns == own {
		return descendants(t.Init)
	}
	all, err := procfs.Pids()
	if err != nil {
		return nil, err
	}
	return t.among(all, ns)
}

// among gives those of all pids that are in the target's pid namespace, whose id is ns, or in one inside it.
func (t *Target) among(all []int, ns uint64) ([]int, error) {
	pids, err := t.asking(all)
	if errors.Is(err, unix.ENOTTY) {
		return withZombies(inNamespace(all, ns))
	}
	return pids, err
}

// nsGetTGIDInPIDNS is NS_GET_TGID_IN_PIDNS of ioctl_nsfs(2), since Linux 6.11: the number that a process has in a pid
// namespace.
const nsGetTGIDInPIDNS = 0x8004b709

// asking gives those of all pids that the target's pid namespace knows, by asking it; unix.ENOTTY if it cannot be
// asked. That takes a tenth of the time that the links of /proc take. Zombies and the processes of inner namespaces
// are among them.
func (t *Target) asking(all []int) ([]int, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/pid", t.Init), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open pid namespace", err)
	}
	defer unix.Close(ns)
	var pids []int
	for _, pid := range all {
		switch _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(ns), nsGetTGIDInPIDNS, uintptr(pid)); errno {
		case 0:
			pids = append(pids, pid)
		case unix.ESRCH: // not there, or ended
		default:
			return nil, os.NewSyscallError("ioctl(NS_GET_TGID_IN_PIDNS)", errno)
		}
	}
	return pids, nil
}

// inNamespace gives those of all pids that are in a pid namespace. A process may end while we look; a zombie has no
// namespaces to show.
func inNamespace(all []int, ns uint64) []int {
	var pids []int
	for _, pid := range all {
		if id, err := procfs.PIDNamespace(pid); err == nil && id == ns {
			pids = append(pids, pid)
		}
	}
	return pids
}

// relist does what listPids does where all pids were listed before and it is not long ago: who came since was
// forked by one of them, which is found out at the freeze, or stands in the container's cgroup. All others are the
// strangers of the search through the whole of /proc that runs beside the other steps.
func (t *Target) relist(before []int) ([]int, error) {
	if t.Host || len(before) == 0 || len(t.Cgroups) == 0 {
		return t.listPids()
	}
	ns, err := procfs.PIDNamespace(t.Init)
	if err != nil {
		return nil, err
	}
	members, err := watchdog.Members(t.Cgroups[0])
	if err != nil {
		return t.listPids()
	}
	pids := append(slices.Clone(before), members...)
	slices.Sort(pids)
	// A number of those before may be somebody else's now.
	return t.among(slices.Compact(pids), ns)
}

// descendants lists root and all below it.
func descendants(root int) ([]int, error) {
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		below, err := children(pids[i])
		if err != nil {
			if i == 0 {
				return nil, err
			}
			continue
		}
		pids = append(pids, below...)
	}
	return pids, nil
}

// children lists the children of all threads of a process, zombies too.
func children(pid int) ([]int, error) {
	tids, err := procfs.ListTasks(pid)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, tid := range tids {
		below, err := procfs.ReadChildren(pid, tid)
		if err != nil {
			if procfs.Gone(err) {
				continue
			}
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// withZombies adds the children that are zombies, which show no namespace.
func withZombies(pids []int) ([]int, error) {
	for _, pid := range pids {
		below, err := children(pid)
		if err != nil && !procfs.Gone(err) {
			return nil, err
		}
		for _, c := range below {
			if !slices.Contains(pids, c) {
				pids = append(pids, c)
			}
		}
	}
	return pids, nil
}

package checkpoint

import (
	"fmt"
	"os"
	"slices"

	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// process is one thread group of the tree.
type process struct {
	// pid is the host's number, nspid that of the tree's pid namespace.
	pid, nspid int
	parent     *process
	stat       procfs.Stat
	status     procfs.Status
	zombie     bool
	threads    []*thread
	// areas are those of smaps at the stop.
	areas []procfs.VMA
	mem   *os.File
	pidfd *os.File
	// memory, fds and fs are the objects that the record names.
	memory, fds, fs specs.ID
	// files are what the descriptors lead to.
	files  map[int]*openFile
	id     specs.ID
	record *specs.Task
	// brk and timers are what the record of memory and of the task need.
	brk                     uint64
	lockFuture, lockOnFault bool
	timers                  []procfs.Timer
	// waiting are the signals that waited before the timers were read.
	waiting [][][]byte
	// policies are the NUMA policies of areas by their start.
	policies map[uint64]*specs.MemoryPolicy
}

// thread is one kernel task.
type thread struct {
	tid, nstid int
	process    *process
	traced     *ptrace.Thread
	stop       ptrace.Stop
	status     procfs.Status
	stat       procfs.Stat
	// sleep is the timed system call seen before the stop, left what remains of it.
	sleep *sleeping.Sleep
	left  *specs.Sleep
	// remainder is what the stop has overwritten in the sleeper's memory.
	remainder []byte
	rseq      ptrace.RSeq
	// stopped is when it was seen to stop, in CLOCK_MONOTONIC.
	stopped int64
	record  *specs.Thread
	// pending are its own signals that wait, settled once its timers have been read.
	pending [][]byte
	settled bool
	// home are the registers with which the thread shall go on.
	home ptrace.Registers
}

// last gives the innermost of the numbers of nested pid namespaces.
func last(ids []int, outer int) int {
	if len(ids) == 0 {
		return outer
	}
	return ids[len(ids)-1]
}

// path is a name below the process's directory in /proc.
func (p *process) path(format string, args ...any) string {
	return fmt.Sprintf("/proc/%d/", p.pid) + fmt.Sprintf(format, args...)
}

// read fills in what /proc tells of the process.
func (p *process) read() error {
	var err error
	if p.stat, err = procfs.ReadStat(p.pid); err != nil {
		return err
	}
	if p.status, err = procfs.ReadStatus(p.pid); err != nil {
		return err
	}
	p.nspid = last(p.status.NSpid, p.pid)
	p.zombie = p.stat.State == 'Z' || p.stat.State == 'X'
	if p.zombie && p.stat.NumThreads > 1 {
		return p.unsupported("thread leader", "has ended while other threads live on", "wait until they end too")
	}
	return nil
}

// open opens what later steps need of a living process.
func (p *process) open() error {
	var err error
	if p.mem, err = os.OpenFile(p.path("mem"), os.O_RDWR, 0); err != nil {
		return kernel.NeedFor(err, "tasks of other users can be opened", unix.CAP_DAC_OVERRIDE)
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return &Error{"open pidfd", p.nspid, err}
	}
	p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

func (p *process) close() {
	for _, f := range []*os.File{p.mem, p.pidfd} {
		if f != nil {
			f.Close()
		}
	}
}

// unsupported makes an error about an object of the process.
func (p *process) unsupported(object, reason, remedy string) error {
	return &Unsupported{PID: p.nspid, Comm: p.stat.Comm, Object: object, Reason: reason, Remedy: remedy}
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
	var pids []int
	for _, pid := range all {
		// A process may end while we look; a zombie has no namespaces to show.
		if id, err := procfs.PIDNamespace(pid); err == nil && id == ns {
			pids = append(pids, pid)
		}
	}
	return withZombies(pids)
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

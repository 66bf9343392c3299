package checkpoint

import (
	"errors"
	"fmt"
	"os"

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
	// at is the number by which /proc and system calls find what the threads
	// have in common: the leader's, or that of another if headless is true, which
	// tells that the leader has ended.
	at       int
	headless bool
	// leader is what status shows of a leader that has ended.
	leader  procfs.Status
	parent  *process
	stat    procfs.Stat
	status  procfs.Status
	zombie  bool
	threads []*thread
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
	// userPC is where it was stopped, 0 if that was in a system call.
	userPC uint64
	status procfs.Status
	stat   procfs.Stat
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

// newProcess names a process of the host.
func newProcess(pid int) *process { return &process{pid: pid, at: pid} }

// last gives the innermost of the numbers of nested pid namespaces.
func last(ids []int, outer int) int {
	if len(ids) == 0 {
		return outer
	}
	return ids[len(ids)-1]
}

// path is a name below the process's directory in /proc.
func (p *process) path(format string, args ...any) string {
	return fmt.Sprintf("/proc/%d/", p.at) + fmt.Sprintf(format, args...)
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
	p.at, p.headless, p.zombie = p.pid, false, ended(&p.stat)
	if p.zombie && p.stat.NumThreads > 1 {
		return p.findThread()
	}
	return nil
}

func ended(s *procfs.Stat) bool { return s.State == 'Z' || s.State == 'X' }

// findThread finds a living thread of a process whose leader has ended. /proc shows
// it under its own number too, though it does not list that.
func (p *process) findThread() error {
	tids, err := procfs.ListTasks(p.pid)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		if s, err := procfs.ReadTaskStat(p.pid, tid); err == nil && !ended(&s) {
			p.at, p.headless, p.zombie = tid, true, false
			return p.readThread()
		}
	}
	return p.unsupported("process", "is about to end", "try again")
}

// readThread takes what the leader has no more (memory, directories) from the thread, and
// leaves what is the leader's.
func (p *process) readThread() error {
	leader := p.stat
	var err error
	if p.stat, err = procfs.ReadStat(p.at); err != nil {
		return err
	}
	p.stat.PID, p.stat.Comm, p.stat.State = leader.PID, leader.Comm, leader.State
	p.stat.ExitSignal, p.stat.ExitCode = leader.ExitSignal, leader.ExitCode
	p.leader = p.status
	if p.status, err = procfs.ReadStatus(p.at); err != nil {
		return err
	}
	p.status.Pid, p.status.NSpid = p.leader.Pid, p.leader.NSpid
	return nil
}

// pidfdThread is PIDFD_THREAD of pidfd_open(2), since Linux 6.9.
const pidfdThread = unix.O_EXCL

// open opens what later steps need of a living process.
func (p *process) open() error {
	var err error
	if p.mem, err = os.OpenFile(p.path("mem"), os.O_RDWR, 0); err != nil {
		return kernel.NeedFor(err, "tasks of other users can be opened", unix.CAP_DAC_OVERRIDE)
	}
	flags := 0
	if p.headless {
		flags = pidfdThread
	}
	fd, err := unix.PidfdOpen(p.at, flags)
	if errors.Is(err, unix.EINVAL) && p.headless {
		return p.unsupported("thread leader", "has ended while other threads live on, which needs Linux 6.9", "wait until they end too")
	}
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

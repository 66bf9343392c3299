package kmem

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Thread is what the kernel keeps of a thread and tells to nobody but the thread
// itself.
type Thread struct {
	// TID is its number in our pid namespace.
	TID int
	// AltStackBase, AltStackSize and AltStackFlags are those of sigaltstack(2).
	AltStackBase, AltStackSize uint64
	AltStackFlags              uint32
	// ClearTID is the address of PR_GET_TID_ADDRESS, PDeathSig that of
	// PR_GET_PDEATHSIG.
	ClearTID  uint64
	PDeathSig uint32
	// SecureBits and TimerSlack are those of prctl(2), the latter in nanoseconds.
	SecureBits uint32
	TimerSlack uint64
	// State are the words of TIF_*, PFA_* and PF_* flags, whose meaning depends on kernel and
	// machine. Two stopped threads of equal flags are equal in all that they stand for:
	// PR_SET_TSC, PR_SET_SPECULATION_CTRL, PR_MCE_KILL.
	State [3]uint64
	// Policy tells that it has a memory policy of its own (set_mempolicy(2)).
	Policy bool
}

// threadLayout are the places of what is read of a thread.
type threadLayout struct {
	links, node, pid                              uint64
	numbers, level                                uint64
	altSP, altSize, altFlags, clear, death, slack uint64
	cred, bits                                    uint64
	state                                         [3]uint64
	// policy is 0 on a kernel without NUMA.
	policy uint64
}

func (r *Reader) threadLayout() (threadLayout, error) {
	var l threadLayout
	for _, f := range []struct {
		to    *uint64
		field string
	}{
		{&l.links, "task_struct.pid_links"}, {&l.node, "task_struct.thread_node"}, {&l.pid, "task_struct.thread_pid"},
		{&l.numbers, "pid.numbers"},
		{&l.altSP, "task_struct.sas_ss_sp"}, {&l.altSize, "task_struct.sas_ss_size"}, {&l.altFlags, "task_struct.sas_ss_flags"},
		{&l.clear, "task_struct.clear_child_tid"}, {&l.death, "task_struct.pdeath_signal"}, {&l.slack, "task_struct.timer_slack_ns"},
		{&l.cred, "task_struct.cred"}, {&l.bits, "cred.securebits"},
	} {
		var err error
		if *f.to, err = r.Offset(f.field); err != nil {
			return l, err
		}
	}
	inner, err := r.Offset("task_struct.thread_info")
	if err != nil {
		return l, err
	}
	for i, field := range []string{"thread_info.flags", "task_struct.atomic_flags", "task_struct.flags"} {
		if l.state[i], err = r.Offset(field); err != nil {
			return l, err
		}
	}
	l.state[0] += inner
	l.policy, _ = r.Offset("task_struct.mempolicy")
	level, err := r.Level()
	l.level = uint64(level)
	return l, err
}

// sizeofUpid is sizeof(struct upid): a number and a pointer.
const sizeofUpid = 16

// States reads what is kept of all threads of a process, the leader first, in the order in which they
// were made. They must be stopped, and stay so while the reader is asked about them.
func (r *Reader) States(pid int) ([]Thread, error) {
	l, err := r.threadLayout()
	if err != nil {
		return nil, err
	}
	leader, err := r.leader(pid, &l)
	if err != nil {
		return nil, err
	}
	head, err := r.Follow(leader, "task_struct.signal", "signal_struct.thread_head&")
	if err != nil {
		return nil, err
	}
	at, err := r.Word(head)
	var all []Thread
	if r.stopped == nil {
		r.stopped = map[int]uint64{}
	}
	for ; err == nil && at != head; at, err = r.Word(at) {
		var t Thread
		if t, err = r.thread(at-l.node, &l); err != nil {
			break
		}
		r.stopped[t.TID] = at - l.node
		if all = append(all, t); len(all) > maxThreads {
			return nil, fmt.Errorf("threads of task %d: the list has no end", pid)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("threads of task %d: %w", pid, err)
	}
	return all, nil
}

// leader finds the task_struct of a process's first thread: its directory in
// /proc knows the struct pid, and that its tasks.
func (r *Reader) leader(pid int, l *threadLayout) (uint64, error) {
	dir, err := os.OpenFile(fmt.Sprintf("/proc/%d", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	file, err := r.File(int(dir.Fd()))
	if err != nil {
		return 0, err
	}
	inode, err := r.Follow(file, "file.f_inode")
	if err != nil {
		return 0, err
	}
	around, err := r.Offset("proc_inode.vfs_inode")
	if err != nil {
		return 0, err
	}
	// pid.tasks is an array of lists; the first is that of PIDTYPE_PID.
	link, err := r.Follow(inode-around, "proc_inode.pid", "pid.tasks")
	if err != nil {
		return 0, err
	}
	if link == 0 {
		return 0, unix.ESRCH
	}
	return link - l.links, nil
}

// thread reads one task_struct.
func (r *Reader) thread(task uint64, l *threadLayout) (Thread, error) {
	w := [...]uint64{
		task + l.altSP, task + l.altSize, task + l.altFlags, task + l.clear, task + l.death, task + l.slack,
		task + l.cred, task + l.pid, task + l.state[0], task + l.state[1], task + l.state[2], task + l.policy,
	}
	if err := r.Words(w[:]); err != nil {
		return Thread{}, err
	}
	more := [...]uint64{w[6] + l.bits, w[7] + l.numbers + l.level*sizeofUpid}
	if err := r.Words(more[:]); err != nil {
		return Thread{}, err
	}
	return Thread{
		TID:          int(int32(more[1])),
		AltStackBase: w[0], AltStackSize: w[1], AltStackFlags: uint32(w[2]),
		ClearTID: w[3], PDeathSig: uint32(w[4]), TimerSlack: w[5],
		State: [3]uint64{w[8], w[9], w[10] & 0xffffffff}, Policy: l.policy != 0 && w[11] != 0,
		SecureBits: uint32(more[0]),
	}, nil
}

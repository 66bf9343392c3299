package checkpoint

import (
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// threadFromOutside fills in what ptrace, /proc and system calls on another's
// behalf tell of a stopped thread.
func (d *dump) threadFromOutside(p *process, th *thread, home *ptrace.Registers) error {
	r := &specs.Thread{TID: int32(th.nstid), Comm: th.status.Name}
	th.record = r
	r.Registers = registerBytes(home)
	var err error
	if r.XState, err = th.traced.XState(); err != nil {
		return err
	}
	if r.Blocked, err = th.traced.SigMask(); err != nil {
		return err
	}
	if !th.settled {
		if th.pending, err = th.traced.Pending(false); err != nil {
			return err
		}
	}
	r.Pending = siginfos(th.pending)
	r.RSeq, r.RSeqSize, r.RSeqSignature, r.RSeqFlags = th.rseq.Pointer, th.rseq.Size, th.rseq.Signature, th.rseq.Flags
	if r.RobustList, r.RobustListLen, err = robustList(th.tid); err != nil {
		return err
	}
	r.Sleep = th.left
	if r.Creds, err = d.creds(p, th); err != nil {
		return err
	}
	if r.Sched, err = sched(th.tid); err != nil {
		return err
	}
	if r.IOPrio, err = ioprio(th.tid); err != nil {
		return err
	}
	return d.seccomp(th)
}

// putEnded writes the record of a leader that has ended while other threads live: what
// is still seen of it.
func (d *dump) putEnded(id specs.ID, p *process) error {
	const noAltStack = 2 // SS_DISABLE
	r := &specs.Thread{
		TID: int32(p.nspid), Comm: p.stat.Comm, Blocked: p.leader.SigBlk, AltStackFlags: noAltStack,
		Ended: true, ExitCode: int32(p.stat.ExitCode),
	}
	var err error
	if r.Creds, err = d.creds(p, &thread{status: p.leader}); err != nil {
		return err
	}
	if r.Sched, err = sched(p.pid); err != nil {
		return &Error{"describe ended leader", p.nspid, err}
	}
	return d.out.Put(id, r)
}

// registerBytes is the memory of the registers, in the kernel's layout.
func registerBytes(r *ptrace.Registers) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))...)
}

func robustList(tid int) (head, length uint64, err error) {
	_, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid), uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&length)))
	if errno != 0 {
		return 0, 0, fmt.Errorf("get robust list: %w", errno)
	}
	return head, length, nil
}

// creds reads the credentials from /proc/PID/task/TID/status.
func (d *dump) creds(p *process, th *thread) (specs.Creds, error) {
	s := &th.status
	c := specs.Creds{
		UID: s.Uid[0], EUID: s.Uid[1], SUID: s.Uid[2], FSUID: s.Uid[3],
		GID: s.Gid[0], EGID: s.Gid[1], SGID: s.Gid[2], FSGID: s.Gid[3],
		Groups: s.Groups, Inheritable: s.CapInh, Permitted: s.CapPrm, Effective: s.CapEff,
		Bounding: s.CapBnd, Ambient: s.CapAmb, NoNewPrivs: s.NoNewPrivs,
	}
	return c, nil
}

// sched reads policy, priority, nice value and affinity.
func sched(tid int) (specs.Sched, error) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return specs.Sched{}, fmt.Errorf("sched_getattr: %w", err)
	}
	// Long enough for CONFIG_NR_CPUS of any distribution.
	mask := make([]byte, 1024)
	n, _, errno := unix.Syscall(unix.SYS_SCHED_GETAFFINITY, uintptr(tid), uintptr(len(mask)), uintptr(unsafe.Pointer(&mask[0])))
	if errno != 0 {
		return specs.Sched{}, fmt.Errorf("sched_getaffinity: %w", errno)
	}
	s := specs.Sched{Policy: attr.Policy, Priority: attr.Priority, Nice: attr.Nice, Flags: attr.Flags, Affinity: mask[:n]}
	if attr.Policy == schedDeadline || attr.Runtime != ordinarySlice() {
		s.Runtime, s.Deadline, s.Period = attr.Runtime, attr.Deadline, attr.Period
	}
	return s, nil
}

// schedDeadline is SCHED_DEADLINE (sched(7)).
const schedDeadline = 6

// ordinarySlice is the time slice of a thread that has not asked for one, which the
// kernel tells since Linux 6.12 (0 before).
func ordinarySlice() uint64 {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return 0
	}
	return own.Runtime
}

func ioprio(tid int) (int32, error) {
	const whoProcess = 1
	v, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(tid), 0)
	if errno != 0 {
		return 0, fmt.Errorf("ioprio_get: %w", errno)
	}
	return int32(v), nil
}

// seccomp reads the filters. Which of them the fresh container will have by
// itself is found out when all threads are known.
func (d *dump) seccomp(th *thread) error {
	switch th.status.Seccomp {
	case 0:
		return nil
	case 1:
		th.record.Seccomp = &specs.Seccomp{Mode: 1}
		return nil
	}
	programs, flags, err := th.traced.SeccompFilters()
	if err != nil {
		return err
	}
	s := &specs.Seccomp{Mode: 2}
	for i := range programs {
		s.Filters = append(s.Filters, specs.SeccompFilter{Program: programs[i], Flags: flags[i]})
	}
	th.record.Seccomp = s
	return nil
}

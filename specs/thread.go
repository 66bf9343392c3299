package specs

// Thread is one kernel task: registers, signal state, credentials, scheduling.
type Thread struct {
	TID  int32  `cbor:"1,keyasint,omitempty"`
	Comm string `cbor:"2,keyasint,omitempty"`
	// Registers is struct user_regs_struct of the machine as PTRACE_GETREGS
	// gives it at the stop; XState is the NT_X86_XSTATE register set.
	Registers []byte `cbor:"3,keyasint,omitempty"`
	XState    []byte `cbor:"4,keyasint,omitempty"`
	// Sleep is how a timed system call that was interrupted goes on.
	Sleep *Sleep `cbor:"5,keyasint,omitempty"`
	// Blocked is the signal mask, SavedMask what sigsuspend and the like will
	// bring back (0 if the call is not one of those).
	Blocked uint64    `cbor:"6,keyasint,omitempty"`
	Pending []Siginfo `cbor:"7,keyasint,omitempty"`
	// AltStack is that of sigaltstack(2).
	AltStackBase  uint64 `cbor:"8,keyasint,omitempty"`
	AltStackFlags int32  `cbor:"9,keyasint,omitempty"`
	AltStackSize  uint64 `cbor:"10,keyasint,omitempty"`
	// ClearTID is the address of set_tid_address(2), RobustList and its length
	// that of set_robust_list(2).
	ClearTID      uint64 `cbor:"11,keyasint,omitempty"`
	RobustList    uint64 `cbor:"12,keyasint,omitempty"`
	RobustListLen uint64 `cbor:"13,keyasint,omitempty"`
	// RSeq is the registration of rseq(2) (PTRACE_GET_RSEQ_CONFIGURATION).
	RSeq          uint64 `cbor:"14,keyasint,omitempty"`
	RSeqSize      uint32 `cbor:"15,keyasint,omitempty"`
	RSeqSignature uint32 `cbor:"16,keyasint,omitempty"`
	RSeqFlags     uint32 `cbor:"17,keyasint,omitempty"`
	// PDeathSig is that of PR_SET_PDEATHSIG.
	PDeathSig int32    `cbor:"18,keyasint,omitempty"`
	Creds     Creds    `cbor:"19,keyasint,omitempty"`
	Sched     Sched    `cbor:"20,keyasint,omitempty"`
	Seccomp   *Seccomp `cbor:"21,keyasint,omitempty"`
	// TimerSlack is in nanoseconds (PR_SET_TIMERSLACK).
	TimerSlack uint64 `cbor:"22,keyasint,omitempty"`
	// TSC is that of PR_SET_TSC.
	TSC int32 `cbor:"23,keyasint,omitempty"`
	// IOPrio is that of ioprio_get(2).
	IOPrio int32 `cbor:"24,keyasint,omitempty"`
	// Attributes are further settings.
	Attributes *ThreadAttributes `cbor:"25,keyasint,omitempty"`
	// Ended tells of a leader that it has ended while other threads live on, and
	// ExitCode its wait(2) status. It has no registers then.
	Ended    bool  `cbor:"26,keyasint,omitempty"`
	ExitCode int32 `cbor:"27,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Thread) RecordType() Type { return TypeThread }

// Sleep is an interrupted system call with a relative timeout: at restore it is
// issued again for what was left of it.
type Sleep struct {
	// Syscall is its number on the machine of the image.
	Syscall int32 `cbor:"1,keyasint,omitempty"`
	// Left is the remaining time in nanoseconds, -1 if it was without a limit.
	Left int64 `cbor:"2,keyasint,omitempty"`
}

// Creds are the credentials of a thread (credentials(7), capabilities(7)) as
// numbers outside of the container (Header.UIDMap).
type Creds struct {
	UID   uint32 `cbor:"1,keyasint,omitempty"`
	EUID  uint32 `cbor:"2,keyasint,omitempty"`
	SUID  uint32 `cbor:"3,keyasint,omitempty"`
	FSUID uint32 `cbor:"4,keyasint,omitempty"`
	GID   uint32 `cbor:"5,keyasint,omitempty"`
	EGID  uint32 `cbor:"6,keyasint,omitempty"`
	SGID  uint32 `cbor:"7,keyasint,omitempty"`
	FSGID uint32 `cbor:"8,keyasint,omitempty"`
	// Groups are the supplementary ones.
	Groups []uint32 `cbor:"9,keyasint,omitempty"`
	// The five capability sets, one bit per capability.
	Inheritable uint64 `cbor:"10,keyasint,omitempty"`
	Permitted   uint64 `cbor:"11,keyasint,omitempty"`
	Effective   uint64 `cbor:"12,keyasint,omitempty"`
	Bounding    uint64 `cbor:"13,keyasint,omitempty"`
	Ambient     uint64 `cbor:"14,keyasint,omitempty"`
	// SecureBits are those of PR_GET_SECUREBITS; they hold PR_SET_KEEPCAPS too.
	SecureBits uint32 `cbor:"15,keyasint,omitempty"`
	NoNewPrivs bool   `cbor:"16,keyasint,omitempty"`
	// Label is the LSM's (/proc/PID/attr/current), empty without one.
	Label string `cbor:"17,keyasint,omitempty"`
}

// Sched is the scheduling of a thread (sched(7)).
type Sched struct {
	Policy   uint32 `cbor:"1,keyasint,omitempty"`
	Priority uint32 `cbor:"2,keyasint,omitempty"`
	Nice     int32  `cbor:"3,keyasint,omitempty"`
	Flags    uint64 `cbor:"4,keyasint,omitempty"`
	// Affinity is the mask of sched_setaffinity(2), lowest processor first.
	Affinity []byte `cbor:"5,keyasint,omitempty"`
	// Runtime, Deadline and Period are those of SCHED_DEADLINE in nanoseconds; Runtime
	// is the slice of a thread of another policy that has asked for one.
	Runtime  uint64 `cbor:"6,keyasint,omitempty"`
	Deadline uint64 `cbor:"7,keyasint,omitempty"`
	Period   uint64 `cbor:"8,keyasint,omitempty"`
}

// Seccomp is the state of seccomp(2) that the program brought about itself.
type Seccomp struct {
	// Mode is 0, 1 (strict) or 2 (filter).
	Mode int32 `cbor:"1,keyasint,omitempty"`
	// Filters are BPF programs, the first installed first: struct sock_filter
	// entries of 8 bytes. Inherited counts those at the front that the runtime
	// installed and the fresh container has already.
	Filters   []SeccompFilter `cbor:"2,keyasint,omitempty"`
	Inherited int             `cbor:"3,keyasint,omitempty"`
}

// SeccompFilter is one installed filter.
type SeccompFilter struct {
	Program []byte `cbor:"1,keyasint,omitempty"`
	Flags   uint64 `cbor:"2,keyasint,omitempty"`
}

// Bounds of a thread's state: registers of any machine, the extended state with all
// that AMX and AVX-512 add, filters of BPF_MAXINSNS, masks of as many processors as
// any kernel has.
const (
	maxRegisters = 4096
	maxXState    = 64 << 10
	maxFilter    = 4096
	maxFilters   = 4096
	maxAffinity  = 8192 / 8
)

// Validate implements Record.
func (t *Thread) Validate() error {
	return first(
		within("tid", t.TID, 1, MaxPID), text("name", t.Comm, MaxComm), t.validateRegisters(),
		atMost("extended state", len(t.XState), maxXState), atMost("queued signals", len(t.Pending), maxQueue),
		each("queued signal", t.Pending, (*Siginfo).validate), signal("parent death signal", t.PDeathSig),
		within("alternate stack", t.AltStackSize, 0, MaxAddress), t.Sleep.validate(), t.Creds.validate(), t.Sched.validate(), t.Seccomp.validate(),
		within("I/O priority", t.IOPrio, 0, 0xffff), t.Attributes.validate(),
	)
}

// validateRegisters says whether they are there, as those of a leader that has ended need
// not be.
func (t *Thread) validateRegisters() error {
	least := 1
	if t.Ended {
		least = 0
	}
	return within("size of the registers", len(t.Registers), least, maxRegisters)
}

func (s *Sleep) validate() error {
	if s == nil {
		return nil
	}
	return first(within("sleeping call", s.Syscall, 0, 1<<16), within("time left", s.Left, -1, MaxTime))
}

func (c *Creds) validate() error {
	return first(ownable(c.UID, c.GID), ownable(c.EUID, c.EGID), ownable(c.SUID, c.SGID), ownable(c.FSUID, c.FSGID),
		atMost("groups", len(c.Groups), MaxGroups), subset("securebits", c.SecureBits, 0xff), text("label", c.Label, MaxPath))
}

func (s *Sched) validate() error {
	return first(within("scheduling policy", s.Policy, 0, 7), within("priority", s.Priority, 0, 99), within("nice value", s.Nice, -20, 19),
		atMost("affinity", len(s.Affinity), maxAffinity), within("runtime", s.Runtime, 0, MaxTime), within("deadline", s.Deadline, 0, MaxTime),
		within("period", s.Period, 0, MaxTime))
}

func (s *Seccomp) validate() error {
	if s == nil {
		return nil
	}
	return first(within("seccomp mode", s.Mode, 0, 2), atMost("filters", len(s.Filters), maxFilters), within("inherited filters", s.Inherited, 0, len(s.Filters)),
		each("filter", s.Filters, func(f *SeccompFilter) error {
			return first(within("size", len(f.Program), filterEntry, maxFilter*filterEntry), sockFilter("program", f.Program))
		}))
}

// filterEntry is the size of struct sock_filter.
const filterEntry = 8

// sockFilter checks the form of a classic BPF program, which may be missing.
func sockFilter(name string, program []byte) error {
	return first(atMost(name, len(program), maxFilter*filterEntry), sized(name+"'s last entry", len(program)%filterEntry, 0))
}

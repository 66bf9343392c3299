package specs

// Task is one process (a thread group): what all its threads have in common.
// Pids are those of the container's pid namespace.
type Task struct {
	PID  int32 `cbor:"1,keyasint,omitempty"`
	PPID int32 `cbor:"2,keyasint,omitempty"`
	PGID int32 `cbor:"3,keyasint,omitempty"`
	SID  int32 `cbor:"4,keyasint,omitempty"`
	// State is "running", "stopped" (job control) or "zombie".
	State string `cbor:"5,keyasint,omitempty"`
	// ExitCode is the wait(2) status of a zombie; StopSignal what stopped a
	// stopped task.
	ExitCode   int32 `cbor:"6,keyasint,omitempty"`
	StopSignal int32 `cbor:"7,keyasint,omitempty"`
	// Stop tells what the parent has still to be told by wait(2): "stopped" or
	// "continued", "" for nothing.
	Stop string `cbor:"31,keyasint,omitempty"`
	// Exec is true for a task that entered the container from outside (runc
	// exec): its parent is not in the image and init adopts it at restore.
	Exec bool `cbor:"8,keyasint,omitempty"`
	// TTY is the ID of the Terminal that controls the session, 0 if none;
	// Foreground is the terminal's foreground process group if the task leads
	// the session.
	TTY        ID    `cbor:"9,keyasint,omitempty"`
	Foreground int32 `cbor:"10,keyasint,omitempty"`
	// Memory, FDs and FS are shared by their IDs (CLONE_VM, CLONE_FILES,
	// CLONE_FS).
	Memory ID `cbor:"11,keyasint,omitempty"`
	FDs    ID `cbor:"12,keyasint,omitempty"`
	FS     ID `cbor:"13,keyasint,omitempty"`
	// Threads are the records of the threads, the leader first.
	Threads []ID `cbor:"14,keyasint,omitempty"`
	// Limits are soft and hard values in the order of RLIMIT_* (getrlimit(2)).
	Limits [][2]uint64 `cbor:"15,keyasint,omitempty"`
	// OOMScoreAdj is /proc/PID/oom_score_adj, CoredumpFilter
	// /proc/PID/coredump_filter.
	OOMScoreAdj    int32  `cbor:"16,keyasint,omitempty"`
	CoredumpFilter uint32 `cbor:"17,keyasint,omitempty"`
	// Subreaper, Dumpable, THPDisable are prctl(2) state of the process.
	Subreaper  bool  `cbor:"18,keyasint,omitempty"`
	Dumpable   int32 `cbor:"19,keyasint,omitempty"`
	THPDisable bool  `cbor:"20,keyasint,omitempty"`
	// Handlers are the dispositions of signals 1..64, Pending those queued for
	// the whole process.
	Handlers []Handler `cbor:"21,keyasint,omitempty"`
	Pending  []Siginfo `cbor:"22,keyasint,omitempty"`
	// Intervals are the ITIMER_REAL, VIRTUAL and PROF timers, Timers the POSIX
	// timers.
	Intervals []Interval `cbor:"23,keyasint,omitempty"`
	Timers    []Timer    `cbor:"24,keyasint,omitempty"`
	// Exe is the ID of the file that /proc/PID/exe leads to.
	Exe ID `cbor:"25,keyasint,omitempty"`
	// Personality is that of personality(2).
	Personality uint32 `cbor:"26,keyasint,omitempty"`
	// ExitSignal is what the parent gets at the end (clone(2)); 17, SIGCHLD,
	// but for odd programs.
	ExitSignal int32 `cbor:"27,keyasint,omitempty"`
	// Comm, UID and GID are those of the leader; a zombie has nothing else.
	Comm string `cbor:"28,keyasint,omitempty"`
	UID  uint32 `cbor:"29,keyasint,omitempty"`
	GID  uint32 `cbor:"30,keyasint,omitempty"`
	// Attributes are further settings.
	Attributes *ProcessAttributes `cbor:"32,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Task) RecordType() Type { return TypeTask }

// Handler is a signal's disposition, as struct kernel_sigaction (rt_sigaction(2)).
type Handler struct {
	Signal   int32  `cbor:"1,keyasint,omitempty"`
	Handler  uint64 `cbor:"2,keyasint,omitempty"`
	Flags    uint64 `cbor:"3,keyasint,omitempty"`
	Restorer uint64 `cbor:"4,keyasint,omitempty"`
	Mask     uint64 `cbor:"5,keyasint,omitempty"`
}

// Siginfo is a queued signal: the 128 bytes of siginfo_t (sigaction(2)).
type Siginfo []byte

// Interval is a timer of setitimer(2); times are in nanoseconds.
type Interval struct {
	Which    int32 `cbor:"1,keyasint,omitempty"`
	Interval int64 `cbor:"2,keyasint,omitempty"`
	Value    int64 `cbor:"3,keyasint,omitempty"`
}

// Timer is a POSIX timer (timer_create(2)); times are in nanoseconds.
type Timer struct {
	ID       int32  `cbor:"1,keyasint,omitempty"`
	Clock    int32  `cbor:"2,keyasint,omitempty"`
	Notify   int32  `cbor:"3,keyasint,omitempty"`
	Signal   int32  `cbor:"4,keyasint,omitempty"`
	Value    uint64 `cbor:"5,keyasint,omitempty"`
	TID      int32  `cbor:"6,keyasint,omitempty"`
	Interval int64  `cbor:"7,keyasint,omitempty"`
	Left     int64  `cbor:"8,keyasint,omitempty"`
	Overrun  int32  `cbor:"9,keyasint,omitempty"`
}

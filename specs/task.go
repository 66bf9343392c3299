package specs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

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

// siginfoSize is the size of siginfo_t.
const siginfoSize = 128

// Validate implements Record.
func (t *Task) Validate() error {
	err := first(
		within("pid", t.PID, 1, MaxPID), pid("parent", t.PPID), pid("process group", t.PGID), pid("session", t.SID),
		oneOf("state", t.State, "running", "stopped", "zombie"), oneOf("stop", t.Stop, "", "stopped", "continued"),
		within("exit code", t.ExitCode, 0, 0xffff), signal("stop signal", t.StopSignal), signal("exit signal", t.ExitSignal),
		within("foreground group", t.Foreground, -1, MaxPID), text("name", t.Comm, 63), within("oom_score_adj", t.OOMScoreAdj, -1000, 1000),
		within("dumpable", t.Dumpable, 0, 2), atMost("limits", len(t.Limits), 16), atMost("queued signals", len(t.Pending), maxQueue),
		each("limit", t.Limits, func(l *[2]uint64) error { return within("soft value", l[0], 0, l[1]) }),
		each("handler", t.Handlers, (*Handler).validate), distinct("handler", t.Handlers, func(h *Handler) int32 { return h.Signal }),
		each("queued signal", t.Pending, (*Siginfo).validate),
		each("interval timer", t.Intervals, (*Interval).validate), distinct("interval timer", t.Intervals, func(v *Interval) int32 { return v.Which }),
		each("timer", t.Timers, (*Timer).validate), distinct("timer", t.Timers, func(v *Timer) int32 { return v.ID }),
		distinct("thread", t.Threads, func(id *ID) ID { return *id }), t.Attributes.validate(),
	)
	if err != nil {
		return err
	}
	if t.State == "zombie" {
		return within("number of threads of a zombie", len(t.Threads), 0, 0)
	}
	if len(t.Threads) == 0 {
		return errors.New("it has no thread")
	}
	return first(present("address space", t.Memory), present("table of descriptors", t.FDs), present("working directory", t.FS), present("program", t.Exe))
}

func (h *Handler) validate() error {
	const kill, stop = 9, 19
	if h.Signal == kill || h.Signal == stop {
		return fmt.Errorf("signal %d cannot be handled", h.Signal)
	}
	return within("signal", h.Signal, 1, MaxSignal)
}

func (s *Siginfo) validate() error {
	if err := sized("siginfo", len(*s), siginfoSize); err != nil {
		return err
	}
	return within("signal", int32(binary.LittleEndian.Uint32(*s)), 1, MaxSignal)
}

func (i *Interval) validate() error {
	return first(within("kind", i.Which, 0, 2), within("interval", i.Interval, 0, MaxTime), within("value", i.Value, 0, MaxTime))
}

func (t *Timer) validate() error {
	// Clocks above are unknown; those below 0 are of processes and devices
	// (clock_getcpuclockid(3)).
	return first(within("number", t.ID, 0, MaxTimer), within("clock", t.Clock, -1<<31, 11), oneOf("notification", t.Notify, 0, 1, 2, 4),
		signal("signal", t.Signal), pid("thread", t.TID), within("interval", t.Interval, 0, MaxTime), within("time left", t.Left, 0, MaxTime))
}

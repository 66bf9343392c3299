package procfs

import (
	"bytes"
	"math"
)

// Stat is /proc/PID/stat or /proc/PID/task/TID/stat (proc_pid_stat(5), fs/proc/array.c).
// Addresses, WChan and the exit code are 0 to readers who may not ptrace the task.
type Stat struct {
	PID int
	// Comm is the name without its parentheses, at most 15 bytes of any kind.
	Comm string
	// State is one of "RSDTtZXI" (proc_pid_stat(5)).
	State   byte
	PPID    int
	PGRP    int
	Session int
	// TTYNr is the device of the controlling terminal as new_encode_dev gives
	// it, 0 for none; TPGID the terminal's foreground group, -1 without a terminal.
	TTYNr int
	TPGID int
	// Flags are PF_* of include/linux/sched.h.
	Flags                            uint64
	MinFlt, CMinFlt, MajFlt, CMajFlt uint64
	// Times are in clock ticks (USER_HZ, 100 per second); C are those of
	// waited-for children.
	UTime, STime, CUTime, CSTime int64
	Priority, Nice               int
	NumThreads                   int
	ITRealValue                  int64
	// StartTime is in clock ticks after boot.
	StartTime uint64
	// VSize is in bytes, RSS in pages, RSSLim in bytes.
	VSize  uint64
	RSS    int64
	RSSLim uint64

	StartCode, EndCode, StartStack uint64
	KStkESP, KStkEIP               uint64
	// The masks cover signals 1..31 only; Status has all.
	Signal, Blocked, SigIgnore, SigCatch uint64
	WChan, NSwap, CNSwap                 uint64
	// ExitSignal is what the parent gets at the end, -1 for a thread that is
	// not the leader.
	ExitSignal int
	Processor  int
	RTPriority uint32
	// Policy is SCHED_*.
	Policy uint32
	// DelayAcctBlkIOTicks, GuestTime and CGuestTime are in clock ticks.
	DelayAcctBlkIOTicks uint64
	GuestTime           uint64
	CGuestTime          int64

	StartData, EndData, StartBrk       uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd uint64
	// ExitCode is in the form of wait(2).
	ExitCode int
}

// ParseStat reads /proc/PID/stat. Fields that a newer kernel appends are passed
// over. A *ParseError tells what is wrong.
func ParseStat(b []byte) (Stat, error) {
	// The name may itself contain ") S 1": only the last parenthesis of the
	// file is the kernel's, for what follows are numbers.
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Stat{}, badLine("stat", 1, b, "no command name in parentheses")
	}
	s := Stat{Comm: string(b[open+1 : end])}
	head := statFields{rest: b[:open]}
	s.PID = head.int()
	f := statFields{rest: bytes.TrimRight(b[end+1:], "\n")}
	s.State = f.char()
	for _, p := range []*int{&s.PPID, &s.PGRP, &s.Session, &s.TTYNr, &s.TPGID} {
		*p = f.int()
	}
	f.uints(&s.Flags, &s.MinFlt, &s.CMinFlt, &s.MajFlt, &s.CMajFlt)
	for _, p := range []*int64{&s.UTime, &s.STime, &s.CUTime, &s.CSTime} {
		*p = f.int64()
	}
	s.Priority, s.Nice, s.NumThreads = f.int(), f.int(), f.int()
	s.ITRealValue = f.int64()
	f.uints(&s.StartTime, &s.VSize)
	s.RSS = f.int64()
	f.uints(&s.RSSLim, &s.StartCode, &s.EndCode, &s.StartStack, &s.KStkESP, &s.KStkEIP,
		&s.Signal, &s.Blocked, &s.SigIgnore, &s.SigCatch, &s.WChan, &s.NSwap, &s.CNSwap)
	s.ExitSignal, s.Processor = f.int(), f.int()
	s.RTPriority, s.Policy = f.uint32(), f.uint32()
	f.uints(&s.DelayAcctBlkIOTicks, &s.GuestTime)
	s.CGuestTime = f.int64()
	f.uints(&s.StartData, &s.EndData, &s.StartBrk, &s.ArgStart, &s.ArgEnd, &s.EnvStart, &s.EnvEnd)
	s.ExitCode = f.int()
	if head.bad || f.bad {
		return Stat{}, badLine("stat", 1, b, "a field is missing or not a number")
	}
	return s, nil
}

// statFields takes one field after the other and remembers whether any failed.
type statFields struct {
	rest []byte
	bad  bool
}

func (f *statFields) next() []byte {
	var v []byte
	v, f.rest = nextField(f.rest)
	return v
}

func (f *statFields) char() byte {
	v := f.next()
	if len(v) != 1 {
		f.bad = true
		return 0
	}
	return v[0]
}

func (f *statFields) int() int {
	v, ok := parsePID(f.next())
	f.bad = f.bad || !ok
	return v
}

func (f *statFields) int64() int64 {
	v, ok := parseInt(f.next())
	f.bad = f.bad || !ok
	return v
}

func (f *statFields) uint32() uint32 {
	v, ok := parseUint(f.next(), 10)
	f.bad = f.bad || !ok || v > math.MaxUint32
	return uint32(v)
}

func (f *statFields) uints(to ...*uint64) {
	for _, p := range to {
		v, ok := parseUint(f.next(), 10)
		f.bad = f.bad || !ok
		*p = v
	}
}

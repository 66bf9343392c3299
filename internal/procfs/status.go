package procfs

import "bytes"

// Status is /proc/PID/status or /proc/PID/task/TID/status (proc_pid_status(5),
// fs/proc/array.c). Numbers that the kernel leaves out (those of memory for a
// zombie or a kernel thread, those of features not built in) are zero.
type Status struct {
	// Name is the command name, its escapes undone.
	Name string
	// Umask is -1 for a task without a struct fs (a zombie).
	Umask int
	// State is one of "RSDTtZXI".
	State     byte
	Tgid      int
	Ngid      int
	Pid       int
	PPid      int
	TracerPid int
	// Uid and Gid are the real, effective, saved and filesystem ids, as
	// numbers of the user namespace of the reader; Groups the supplementary ones.
	Uid, Gid [4]uint32
	FDSize   int
	Groups   []uint32
	// The ids in each nested pid namespace, outermost (that of the /proc
	// mount) first, the task's own last.
	NStgid, NSpid, NSpgid, NSsid []int
	// Kthread is true for a kernel thread (since Linux 6.9).
	Kthread bool
	// Sizes are in bytes.
	VmPeak, VmSize, VmLck, VmPin, VmHWM, VmRSS uint64
	RssAnon, RssFile, RssShmem                 uint64
	VmData, VmStk, VmExe, VmLib, VmPTE, VmSwap uint64
	HugetlbPages                               uint64
	// CoreDumping is true while a core dump is being written.
	CoreDumping bool
	// THPEnabled is false if PR_SET_THP_DISABLE was used. HasTHPEnabled tells
	// whether the kernel says (since Linux 5.0, not for a zombie).
	THPEnabled, HasTHPEnabled bool
	UntagMask                 uint64
	// ThreadFeatures are those of arch_prctl(2) ARCH_SHSTK_* ("shstk", "wrss"),
	// ThreadFeaturesLocked those that cannot be changed any more (x86).
	ThreadFeatures, ThreadFeaturesLocked []string
	Threads                              int
	// SigQ and SigQLimit are the queued signals of the real user and their limit.
	SigQ, SigQLimit uint64
	// Signal sets: bit 0 is signal 1. SigPnd are pending for the thread,
	// ShdPnd for the process.
	SigPnd, ShdPnd, SigBlk, SigIgn, SigCgt uint64
	// Capability sets: bit 0 is capability 0 (capabilities(7)).
	CapInh, CapPrm, CapEff, CapBnd, CapAmb uint64
	NoNewPrivs                             bool
	// Seccomp is SECCOMP_MODE_*, SeccompFilters the number of filters (since
	// Linux 5.9).
	Seccomp        int
	SeccompFilters int
	// SpeculationStoreBypass and SpeculationIndirectBranch are the texts of
	// PR_SPEC_STORE_BYPASS and PR_SPEC_INDIRECT_BRANCH.
	SpeculationStoreBypass, SpeculationIndirectBranch string
	// CPUsAllowedList and MemsAllowedList are lists like "0-3,7".
	CPUsAllowedList, MemsAllowedList string

	VoluntaryCtxtSwitches, NonvoluntaryCtxtSwitches uint64
}

// ParseStatus reads /proc/PID/status. Lines with keys that it does not know are
// passed over; Name, State, Tgid, Pid, PPid, Uid and Gid must be there.
func ParseStatus(b []byte) (Status, error) {
	s := Status{Umask: -1}
	missing := map[string]bool{
		"Name": true, "State": true, "Tgid": true, "Pid": true, "PPid": true, "Uid": true, "Gid": true,
	}
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		key, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return Status{}, badLine("status", n, line, "no colon")
		}
		field, known := statusFields[string(key)]
		if !known {
			continue
		}
		if !field(&s, bytes.TrimPrefix(value, []byte("\t"))) {
			return Status{}, badLine("status", n, line, "not understood")
		}
		delete(missing, string(key))
	}
	for key := range missing {
		return Status{}, badFile("status", key+" is missing")
	}
	return s, nil
}

// ThreadPID is the task's id in its own, innermost pid namespace.
func (s *Status) ThreadPID() int {
	if len(s.NSpid) == 0 {
		return s.Pid
	}
	return s.NSpid[len(s.NSpid)-1]
}

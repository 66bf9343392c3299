package procfs

import (
	"bytes"
	"math"
	"strings"
)

// statusField stores the value of one line of status; false tells that it is not
// of the expected form.
type statusField func(s *Status, value []byte) bool

// statusFields is read only.
var statusFields = map[string]statusField{
	"Name":       func(s *Status, v []byte) bool { s.Name = unescapeComm(v); return true },
	"Umask":      func(s *Status, v []byte) bool { u, ok := parseUint(trim(v), 8); s.Umask = int(u & 0o777); return ok },
	"State":      statusState,
	"Tgid":       statusPID(func(s *Status) *int { return &s.Tgid }),
	"Ngid":       statusPID(func(s *Status) *int { return &s.Ngid }),
	"Pid":        statusPID(func(s *Status) *int { return &s.Pid }),
	"PPid":       statusPID(func(s *Status) *int { return &s.PPid }),
	"TracerPid":  statusPID(func(s *Status) *int { return &s.TracerPid }),
	"Uid":        statusIDs(func(s *Status) *[4]uint32 { return &s.Uid }),
	"Gid":        statusIDs(func(s *Status) *[4]uint32 { return &s.Gid }),
	"FDSize":     statusPID(func(s *Status) *int { return &s.FDSize }),
	"Groups":     statusGroups,
	"NStgid":     statusPIDs(func(s *Status) *[]int { return &s.NStgid }),
	"NSpid":      statusPIDs(func(s *Status) *[]int { return &s.NSpid }),
	"NSpgid":     statusPIDs(func(s *Status) *[]int { return &s.NSpgid }),
	"NSsid":      statusPIDs(func(s *Status) *[]int { return &s.NSsid }),
	"Kthread":    statusBool(func(s *Status) *bool { return &s.Kthread }),
	"Threads":    statusPID(func(s *Status) *int { return &s.Threads }),
	"SigQ":       statusSigQ,
	"Seccomp":    statusPID(func(s *Status) *int { return &s.Seccomp }),
	"NoNewPrivs": statusBool(func(s *Status) *bool { return &s.NoNewPrivs }),

	"VmPeak":       statusKB(func(s *Status) *uint64 { return &s.VmPeak }),
	"VmSize":       statusKB(func(s *Status) *uint64 { return &s.VmSize }),
	"VmLck":        statusKB(func(s *Status) *uint64 { return &s.VmLck }),
	"VmPin":        statusKB(func(s *Status) *uint64 { return &s.VmPin }),
	"VmHWM":        statusKB(func(s *Status) *uint64 { return &s.VmHWM }),
	"VmRSS":        statusKB(func(s *Status) *uint64 { return &s.VmRSS }),
	"RssAnon":      statusKB(func(s *Status) *uint64 { return &s.RssAnon }),
	"RssFile":      statusKB(func(s *Status) *uint64 { return &s.RssFile }),
	"RssShmem":     statusKB(func(s *Status) *uint64 { return &s.RssShmem }),
	"VmData":       statusKB(func(s *Status) *uint64 { return &s.VmData }),
	"VmStk":        statusKB(func(s *Status) *uint64 { return &s.VmStk }),
	"VmExe":        statusKB(func(s *Status) *uint64 { return &s.VmExe }),
	"VmLib":        statusKB(func(s *Status) *uint64 { return &s.VmLib }),
	"VmPTE":        statusKB(func(s *Status) *uint64 { return &s.VmPTE }),
	"VmSwap":       statusKB(func(s *Status) *uint64 { return &s.VmSwap }),
	"HugetlbPages": statusKB(func(s *Status) *uint64 { return &s.HugetlbPages }),
	"CoreDumping":  statusBool(func(s *Status) *bool { return &s.CoreDumping }),
	"THP_enabled": func(s *Status, v []byte) bool {
		s.HasTHPEnabled = true
		return parseBool(v, &s.THPEnabled)
	},

	"SigPnd":     statusHex(func(s *Status) *uint64 { return &s.SigPnd }),
	"ShdPnd":     statusHex(func(s *Status) *uint64 { return &s.ShdPnd }),
	"SigBlk":     statusHex(func(s *Status) *uint64 { return &s.SigBlk }),
	"SigIgn":     statusHex(func(s *Status) *uint64 { return &s.SigIgn }),
	"SigCgt":     statusHex(func(s *Status) *uint64 { return &s.SigCgt }),
	"CapInh":     statusHex(func(s *Status) *uint64 { return &s.CapInh }),
	"CapPrm":     statusHex(func(s *Status) *uint64 { return &s.CapPrm }),
	"CapEff":     statusHex(func(s *Status) *uint64 { return &s.CapEff }),
	"CapBnd":     statusHex(func(s *Status) *uint64 { return &s.CapBnd }),
	"CapAmb":     statusHex(func(s *Status) *uint64 { return &s.CapAmb }),
	"untag_mask": statusHex(func(s *Status) *uint64 { return &s.UntagMask }),

	"Seccomp_filters":            statusPID(func(s *Status) *int { return &s.SeccompFilters }),
	"x86_Thread_features":        statusWords(func(s *Status) *[]string { return &s.ThreadFeatures }),
	"x86_Thread_features_locked": statusWords(func(s *Status) *[]string { return &s.ThreadFeaturesLocked }),
	"Speculation_Store_Bypass":   statusText(func(s *Status) *string { return &s.SpeculationStoreBypass }),
	"SpeculationIndirectBranch":  statusText(func(s *Status) *string { return &s.SpeculationIndirectBranch }),
	"Cpus_allowed_list":          statusText(func(s *Status) *string { return &s.CPUsAllowedList }),
	"Mems_allowed_list":          statusText(func(s *Status) *string { return &s.MemsAllowedList }),
	"voluntary_ctxt_switches":    statusCount(func(s *Status) *uint64 { return &s.VoluntaryCtxtSwitches }),
	"nonvoluntary_ctxt_switches": statusCount(func(s *Status) *uint64 { return &s.NonvoluntaryCtxtSwitches }),
}

func statusPID(to func(*Status) *int) statusField {
	return func(s *Status, v []byte) (ok bool) { *to(s), ok = parsePID(trim(v)); return }
}

func statusPIDs(to func(*Status) *[]int) statusField {
	return func(s *Status, v []byte) (ok bool) { *to(s), ok = parsePIDs(v); return }
}

func statusBool(to func(*Status) *bool) statusField {
	return func(s *Status, v []byte) bool { return parseBool(v, to(s)) }
}

func statusKB(to func(*Status) *uint64) statusField {
	return func(s *Status, v []byte) (ok bool) { *to(s), ok = parseKB(v); return }
}

func statusHex(to func(*Status) *uint64) statusField {
	return func(s *Status, v []byte) (ok bool) { *to(s), ok = parseHex(trim(v)); return }
}

func statusCount(to func(*Status) *uint64) statusField {
	return func(s *Status, v []byte) (ok bool) { *to(s), ok = parseUint(trim(v), 10); return }
}

func statusText(to func(*Status) *string) statusField {
	return func(s *Status, v []byte) bool { *to(s) = string(trim(v)); return true }
}

func statusWords(to func(*Status) *[]string) statusField {
	return func(s *Status, v []byte) bool { *to(s) = strings.Fields(string(v)); return true }
}

func statusIDs(to func(*Status) *[4]uint32) statusField {
	return func(s *Status, v []byte) bool {
		ids, ok := parseIDs(v)
		return ok && len(ids) == copy(to(s)[:], ids) && len(ids) == 4
	}
}

func statusGroups(s *Status, v []byte) (ok bool) {
	s.Groups, ok = parseIDs(v)
	return ok
}

// statusState takes the letter of "S (sleeping)".
func statusState(s *Status, v []byte) bool {
	letter, _ := nextField(v)
	if len(letter) != 1 {
		return false
	}
	s.State = letter[0]
	return true
}

// statusSigQ reads "queued/limit".
func statusSigQ(s *Status, v []byte) bool {
	queued, limit, _ := bytes.Cut(trim(v), []byte("/"))
	var ok [2]bool
	s.SigQ, ok[0] = parseUint(queued, 10)
	s.SigQLimit, ok[1] = parseUint(limit, 10)
	return ok[0] && ok[1]
}

// parseIDs reads uids or gids; -1, 4294967295, is one that has no number in the
// reader's user namespace.
func parseIDs(b []byte) ([]uint32, bool) {
	var out []uint32
	for {
		var f []byte
		if f, b = nextField(b); len(f) == 0 {
			return out, true
		}
		v, ok := parseUint(f, 10)
		if !ok || v > math.MaxUint32 {
			return nil, false
		}
		out = append(out, uint32(v))
	}
}

func parseBool(v []byte, to *bool) bool {
	n, ok := parseUint(trim(v), 10)
	*to = n == 1
	return ok && n <= 1
}

// unescapeComm undoes \n and \\, the two escapes that the kernel makes in Name
// (fs/proc/array.c, proc_task_name).
func unescapeComm(v []byte) string {
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v)
	}
	return strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(string(v))
}

package procfs

import "bytes"

// Unlimited is RLIM_INFINITY, how a limit of "unlimited" is given.
const Unlimited = ^uint64(0)

// NumLimits is how many resource limits there are (RLIM_NLIMITS).
const NumLimits = 16

// limitName gives the kernel's name of each limit in the order of RLIMIT_*
// (fs/proc/base.c, lnames; include/uapi/asm-generic/resource.h).
var limitName = [NumLimits]string{
	"Max cpu time", "Max file size", "Max data size", "Max stack size",
	"Max core file size", "Max resident set", "Max processes", "Max open files",
	"Max locked memory", "Max address space", "Max file locks", "Max pending signals",
	"Max msgqueue size", "Max nice priority", "Max realtime priority", "Max realtime timeout",
}

// limitNameWidth is the width in bytes of the first column.
const limitNameWidth = 25

// ParseLimits reads /proc/PID/limits: soft and hard value of each limit in the
// order of RLIMIT_* (getrlimit(2)). A limit that is missing or unknown is an
// error.
func ParseLimits(b []byte) ([NumLimits][2]uint64, error) {
	var limits [NumLimits][2]uint64
	var seen [NumLimits]bool
	_, b = nextLine(b) // the column heads
	for n := 2; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		if len(line) <= limitNameWidth {
			return limits, badLine("limits", n, line, "too short")
		}
		i := limitIndex(trim(line[:limitNameWidth]))
		if i < 0 {
			return limits, badLine("limits", n, line, "unknown limit")
		}
		soft, rest := nextField(line[limitNameWidth:])
		hard, _ := nextField(rest)
		var ok [2]bool
		limits[i][0], ok[0] = limitValue(soft)
		limits[i][1], ok[1] = limitValue(hard)
		if !ok[0] || !ok[1] {
			return limits, badLine("limits", n, line, "not a number")
		}
		seen[i] = true
	}
	for i, ok := range seen {
		if !ok {
			return limits, badFile("limits", limitName[i]+" is missing")
		}
	}
	return limits, nil
}

func limitIndex(name []byte) int {
	for i, s := range limitName {
		if string(name) == s {
			return i
		}
	}
	return -1
}

func limitValue(b []byte) (uint64, bool) {
	if bytes.Equal(b, []byte("unlimited")) {
		return Unlimited, true
	}
	return parseUint(b, 10)
}

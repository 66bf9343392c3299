package procfs

import (
	"bytes"
	"math"
)

// Lock is one "lock:" line of fdinfo, or a line of /proc/locks (proc_locks(5),
// fs/locks.c, lock_get_status).
type Lock struct {
	// ID counts the lines.
	ID int64
	// Blocked is true for one that waits ("->").
	Blocked bool
	// Class is "POSIX", "FLOCK", "OFDLCK", "LEASE", "DELEG", "ACCESS";
	// Mode "ADVISORY", "MANDATORY", "ACTIVE", "BREAKING", "BREAKER";
	// Type "READ", "WRITE", "UNLCK", "NONE".
	Class, Mode, Type string
	// PID holds the lock: -1 for an OFDLCK, 0 if it has no pid in the
	// namespace of /proc.
	PID int
	// Major, Minor and Inode are those of the file, 0 for one who waits for the
	// end of a lease.
	Major, Minor uint32
	Inode        uint64
	// Start and End are the first and the last byte; End is LockEOF to the end
	// of the file, however long it grows.
	Start, End int64
}

// LockEOF is the End of a lock that has none.
const LockEOF = math.MaxInt64

func (i *FDInfo) parseLock(v []byte) bool {
	l, ok := parseLock(v)
	i.Locks = append(i.Locks, l)
	return ok && l.Inode != 0
}

// ParseLocks reads /proc/locks: all locks of the machine whose takers have a
// number in the pid namespace of /proc, each followed by those who wait for it.
func ParseLocks(b []byte) ([]Lock, error) {
	var locks []Lock
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		l, ok := parseLock(trim(line))
		if !ok {
			return nil, badLine("locks", n, line, "not understood")
		}
		locks = append(locks, l)
	}
	return locks, nil
}

// parseLock reads "1: POSIX  ADVISORY  WRITE 4711 fe:00:9977967 2 EOF".
func parseLock(v []byte) (Lock, bool) {
	var l Lock
	var ok [6]bool
	id, rest := nextField(v)
	id, ok[0] = bytes.CutSuffix(id, []byte(":"))
	l.ID, ok[1] = parseInt(id)
	word := func() (w []byte) { w, rest = nextField(rest); return }
	class := word()
	if l.Blocked = string(class) == "->"; l.Blocked {
		class = word()
	}
	l.Class, l.Mode, l.Type = string(class), string(word()), string(word())
	l.PID, ok[2] = parsePID(word())
	ok[3] = l.parseFile(word())
	l.Start, ok[4] = parseInt(word())
	if end := word(); string(end) == "EOF" {
		l.End, ok[5] = LockEOF, true
	} else {
		l.End, ok[5] = parseInt(end)
	}
	return l, ok == [6]bool{true, true, true, true, true, true} && len(trim(rest)) == 0
}

// parseFile reads "fe:00:9977967", device numbers in hexadecimal, or "<none>:0".
func (l *Lock) parseFile(v []byte) bool {
	if string(v) == "<none>:0" {
		return true
	}
	parts := bytes.Split(v, []byte(":"))
	if len(parts) != 3 {
		return false
	}
	major, ok1 := parseUint(parts[0], 16)
	minor, ok2 := parseUint(parts[1], 16)
	inode, ok3 := parseUint(parts[2], 10)
	l.Major, l.Minor, l.Inode = uint32(major), uint32(minor), inode
	return ok1 && ok2 && ok3 && major|minor <= math.MaxUint32
}

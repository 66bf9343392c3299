package procfs

import "encoding/binary"

// AuxEntry is one entry of the auxiliary vector (getauxval(3)).
type AuxEntry struct {
	// Type is AT_*.
	Type, Value uint64
}

// auxNull, AT_NULL, ends an auxiliary vector (include/uapi/linux/auxvec.h).
const auxNull = 0

// auxEntrySize is in bytes; a task of a 32-bit machine has entries of half of it,
// which do not parse.
const auxEntrySize = 16

// ParseAuxv reads /proc/PID/auxv of a 64-bit task, without the AT_NULL at its
// end. It is empty for a task without an address space.
func ParseAuxv(b []byte) ([]AuxEntry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var out []AuxEntry
	for ; len(b) >= auxEntrySize; b = b[auxEntrySize:] {
		e := AuxEntry{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])}
		if e.Type == auxNull {
			return out, nil
		}
		// The numbers are small; two 32-bit words taken for one are not.
		if e.Type > 1<<32-1 {
			return nil, badFile("auxv", "not that of a 64-bit task")
		}
		out = append(out, e)
	}
	return nil, badFile("auxv", "does not end in AT_NULL")
}

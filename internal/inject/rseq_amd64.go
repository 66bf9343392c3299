package inject

import (
	"encoding/binary"
	"os"

	"github.com/rethaw/rethaw/internal/ptrace"
)

// AbortRSeq sends a thread that was stopped inside a restartable sequence to
// the sequence's abort handler, as the kernel does when it preempts one
// (rseq(2)): the stop itself was such a preemption, but the kernel looks at it only when
// the thread goes back to its own code, which it does from elsewhere.
func AbortRSeq(mem *os.File, seq ptrace.RSeq, r *ptrace.Registers) {
	const pointerOff = 8
	var word [8]byte
	if seq.Pointer == 0 {
		return
	}
	if _, err := mem.ReadAt(word[:], int64(seq.Pointer+pointerOff)); err != nil {
		return // not mapped: the kernel will kill the program for it, not we
	}
	at := binary.LittleEndian.Uint64(word[:])
	if at == 0 {
		return
	}
	var cs [32]byte // struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip
	if _, err := mem.ReadAt(cs[:], int64(at)); err != nil {
		return
	}
	start, length := binary.LittleEndian.Uint64(cs[8:]), binary.LittleEndian.Uint64(cs[16:])
	if r.Rip-start < length {
		r.Rip = binary.LittleEndian.Uint64(cs[24:])
	}
}

package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// RSeq is a registration of rseq(2): struct ptrace_rseq_configuration.
type RSeq struct {
	Pointer   uint64
	Size      uint32
	Signature uint32
	Flags     uint32
	_         uint32
}

// RSeq reads the thread's registration; Pointer is 0 if there is none.
func (t *Thread) RSeq() (RSeq, error) {
	var r RSeq
	err := t.exchange("read rseq of", unix.PTRACE_GET_RSEQ_CONFIGURATION, unsafe.Sizeof(r), unsafe.Pointer(&r))
	return r, err
}

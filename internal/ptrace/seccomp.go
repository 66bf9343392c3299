package ptrace

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFilter is BPF_MAXINSNS, the longest program in instructions.
const maxFilter = 4096

// SeccompFilters reads the installed filters, the first installed first, each a
// program of 8 byte instructions with its SECCOMP_FILTER_FLAG_*. Index 0 is the
// oldest (kernel/seccomp.c, get_nth_filter), though ptrace(2) says the newest.
func (t *Thread) SeccompFilters() (programs [][]byte, flags []uint64, err error) {
	if err := t.settle(); err != nil {
		return nil, nil, err
	}
	for i := uintptr(0); ; i++ {
		buf := make([]byte, maxFilter*8)
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(t.TID), i, uintptr(unsafe.Pointer(&buf[0])), 0, 0)
		if errno == unix.ENOENT {
			return programs, flags, nil
		}
		if errno != 0 {
			return nil, nil, t.error("read seccomp filter of", errno)
		}
		programs = append(programs, append([]byte(nil), buf[:n*8]...))
		meta := struct{ index, flags uint64 }{index: uint64(i)}
		err := t.exchange("read seccomp flags of", unix.PTRACE_SECCOMP_GET_METADATA, unsafe.Sizeof(meta), unsafe.Pointer(&meta))
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return nil, nil, err
		}
		flags = append(flags, meta.flags)
	}
}

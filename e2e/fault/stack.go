//go:build amd64

package fault

import (
	"encoding/binary"
	"hash/fnv"

	"golang.org/x/sys/unix"
)

// depth bounds how many callers are looked at, window how many bytes of the stack are read at once.
const (
	depth  = 48
	window = 4096
)

// walk gives the address of a system call and those of its callers, as Go's frame pointers tell.
func walk(pid int, regs *unix.PtraceRegs) []uint64 {
	stack := []uint64{regs.Rip}
	buf := make([]byte, window)
	base := regs.Rsp
	buf = buf[:peek(pid, buf, base)]
	word := func(at uint64) (uint64, bool) {
		if at < base || at+8 > base+uint64(len(buf)) {
			var b [8]byte
			if peek(pid, b[:], at) != 8 {
				return 0, false
			}
			return binary.LittleEndian.Uint64(b[:]), true
		}
		return binary.LittleEndian.Uint64(buf[at-base:]), true
	}
	if ret, ok := word(regs.Rsp); ok {
		stack = append(stack, ret) // the gate has no frame of its own
	}
	for frame := regs.Rbp; len(stack) < depth && frame >= 4096; {
		ret, ok := word(frame + 8)
		if !ok || ret == 0 {
			break
		}
		stack = append(stack, ret)
		next, ok := word(frame)
		if !ok || next <= frame {
			break
		}
		frame = next
	}
	return stack
}

func peek(pid int, b []byte, at uint64) int {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	if err != nil {
		return 0
	}
	return n
}

func hash(call, op uint64, stack []uint64) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for _, v := range append([]uint64{call, op}, stack...) {
		binary.LittleEndian.PutUint64(b[:], v)
		_, _ = h.Write(b[:])
	}
	return h.Sum64()
}

package inject

import (
	"encoding/binary"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// asm puts instructions together: moves of immediates, syscall, and a jump. None
// of them touches flags or memory of the task, which is what the stub needs.
type asm struct{ code []byte }

// Register numbers of the machine code.
const (
	rax = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi
	r8
	r9
	r10
	r11
	r12
	r13
	r14
	r15
)

// mov loads a 64-bit immediate: REX.W B8+r imm64.
func (a *asm) mov(reg byte, value uint64) {
	a.code = append(a.code, 0x48|reg>>3, 0xb8|reg&7)
	a.code = binary.LittleEndian.AppendUint64(a.code, value)
}

// mov32 loads a 32-bit immediate and clears the upper half: [REX.B] B8+r imm32.
func (a *asm) mov32(reg byte, value uint32) {
	if reg >= r8 {
		a.code = append(a.code, 0x41)
	}
	a.code = append(a.code, 0xb8|reg&7)
	a.code = binary.LittleEndian.AppendUint32(a.code, value)
}

func (a *asm) syscall() { a.code = append(a.code, 0x0f, 0x05) }

// jmp goes to an absolute address that stands behind the instruction.
func (a *asm) jmp(to uint64) {
	a.code = append(a.code, 0xff, 0x25, 0, 0, 0, 0)
	a.code = binary.LittleEndian.AppendUint64(a.code, to)
}

// stub is the code in the vdso: enter maps the arena and, if nobody redirects
// the task, runs on into leave, which takes all back.
type stub struct {
	code         []byte
	enter, leave uint64
}

// stubMagic starts a stub, so that one which a killed tracer left behind is known.
var stubMagic = []byte("RETHAW01")

// stubSize bounds the length of a stub in bytes.
const stubSize = 384

// newStub makes the stub that stands at address at, maps arena and ends in the
// registers home with the signal mask mask.
func newStub(at, arena uint64, home *ptrace.Registers, mask uint64) stub {
	var a asm
	a.code = append(a.code, stubMagic...)
	a.code = binary.LittleEndian.AppendUint64(a.code, mask)
	maskAt := at + uint64(len(stubMagic))

	s := stub{enter: at + uint64(len(a.code))}
	a.mov32(rax, unix.SYS_MMAP)
	a.mov(rdi, arena)
	a.mov32(rsi, Size)
	a.mov32(rdx, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
	a.mov32(r10, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE)
	a.mov(r8, ^uint64(0))
	a.mov32(r9, 0)
	a.syscall()

	s.leave = at + uint64(len(a.code))
	a.mov32(rax, unix.SYS_MUNMAP)
	a.mov(rdi, arena)
	a.mov32(rsi, Size)
	a.syscall()
	// The stack first: a signal that was blocked comes the moment the mask is
	// back, and its frame must not go to the arena, which is gone.
	a.mov(rsp, home.Rsp)
	a.mov32(rax, unix.SYS_RT_SIGPROCMASK)
	a.mov32(rdi, unix.SIG_SETMASK)
	a.mov(rsi, maskAt)
	a.mov32(rdx, 0)
	a.mov32(r10, 8)
	a.syscall()
	for reg, value := range map[byte]uint64{
		rax: home.Rax, rcx: home.Rcx, rdx: home.Rdx, rbx: home.Rbx, rsp: home.Rsp, rbp: home.Rbp,
		rsi: home.Rsi, rdi: home.Rdi, r8: home.R8, r9: home.R9, r10: home.R10, r11: home.R11,
		r12: home.R12, r13: home.R13, r14: home.R14, r15: home.R15,
	} {
		a.mov(reg, value)
	}
	a.jmp(home.Rip)
	s.code = a.code
	return s
}

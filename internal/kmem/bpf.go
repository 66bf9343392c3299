package kmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// insn encodes one BPF instruction (linux/bpf.h, struct bpf_insn).
func insn(code, dst, src byte, off int16, imm int32) []byte {
	b := []byte{code, src<<4 | dst, 0, 0, 0, 0, 0, 0}
	binary.NativeEndian.PutUint16(b[2:], uint16(off))
	binary.NativeEndian.PutUint32(b[4:], uint32(imm))
	return b
}

// Opcodes (Documentation/bpf/standardization/instruction-set.rst) and helpers.
const (
	opLoad   = 0x79 // dst = *(u64 *)(src + off)
	opStore  = 0x7b // *(u64 *)(dst + off) = src
	opMove   = 0xbf // dst = src
	opAdd    = 0x07 // dst += imm
	opSet    = 0xb7 // dst = imm
	opIfZero = 0x15 // if dst == 0 skip off instructions
	opCall   = 0x85
	opExit   = 0x95
	frame    = 10  // the register that points behind the stack
	getTask  = 35  // bpf_get_current_task
	readKern = 113 // bpf_probe_read_kernel
)

// program is a loaded BPF program whose context is room.
type program struct {
	fd   int
	room []byte
}

// readProgram copies size bytes from the address in its context over the
// context, by way of its stack: helpers do not write into a context.
func readProgram(size int) (*program, error) {
	code := [][]byte{
		insn(opMove, 6, 1, 0, 0),
		insn(opLoad, 3, 1, 0, 0),
		insn(opMove, 1, frame, 0, 0),
		insn(opAdd, 1, 0, 0, int32(-size)),
		insn(opSet, 2, 0, 0, int32(size)),
		insn(opCall, 0, 0, 0, readKern),
		insn(opIfZero, 0, 0, 1, 0),
		insn(opExit, 0, 0, 0, 0),
	}
	for off := 0; off < size; off += 8 {
		code = append(code, insn(opLoad, 1, frame, int16(off-size), 0), insn(opStore, 6, 1, int16(off), 0))
	}
	return load(size, append(code, insn(opSet, 0, 0, 0, 0), insn(opExit, 0, 0, 0, 0))...)
}

// taskProgram writes the address of the calling thread's task_struct.
func taskProgram() (*program, error) {
	return load(8,
		insn(opMove, 6, 1, 0, 0),
		insn(opCall, 0, 0, 0, getTask),
		insn(opStore, 6, 0, 0, 0),
		insn(opSet, 0, 0, 0, 0),
		insn(opExit, 0, 0, 0, 0))
}

// load loads a program of type BPF_PROG_TYPE_SYSCALL.
func load(size int, insns ...[]byte) (*program, error) {
	var code []byte
	for _, i := range insns {
		code = append(code, i...)
	}
	license := []byte("GPL\x00")
	attr := struct {
		kind, count   uint32
		insns         *byte
		license       *byte
		level, length uint32
		log           uint64
		version       uint32
		flags         uint32
	}{kind: progTypeSyscall, count: uint32(len(insns)), insns: &code[0], license: &license[0], flags: sleepable}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return nil, os.NewSyscallError("bpf(BPF_PROG_LOAD)", errno)
	}
	return &program{int(fd), make([]byte, size)}, nil
}

const (
	progTypeSyscall = 31
	sleepable       = 1 << 4 // BPF_F_SLEEPABLE
)

// ErrFault tells that an address is not mapped.
var ErrFault = errors.New("no kernel memory at this address")

// run runs the program; its context is in room before and after.
func (p *program) run() error {
	attr := struct {
		fd, ret          uint32
		in, out          uint32
		dataIn, dataOut  uint64
		repeat, duration uint32
		ctxIn, ctxOut    uint32
		ctx              *byte
		ctxOutAt         uint64
		flags, cpu       uint32
		batch, _         uint32
	}{fd: uint32(p.fd), ctxIn: uint32(len(p.room)), ctx: &p.room[0]}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return os.NewSyscallError("bpf(BPF_PROG_TEST_RUN)", errno)
	}
	if ret := int32(attr.ret); ret != 0 {
		return fmt.Errorf("%w (%v)", ErrFault, unix.Errno(-ret))
	}
	return nil
}

func (p *program) close() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}

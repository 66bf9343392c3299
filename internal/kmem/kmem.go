// Package kmem reads memory of the kernel.
//
// A few objects that a program can lose have no name in user space: a connection
// that waits for accept(2) is known to its listening socket alone, and no system
// call shows what it has received. This package reads such objects where they
// are:
//
//  1. a small BPF program (bpf(2)) copies kernel memory into a map, by a helper
//     that fails where nothing can be read, and never faults;
//  2. the layout of structures is that of the running kernel's BTF
//     (/sys/kernel/btf/vmlinux);
//  3. the way begins at our own task: its table of files leads to the struct file
//     of a descriptor that we hold (walk.go);
//  4. contents of pages are found through the kernel's linear map of all memory,
//     whose place is measured with a page of our own (pages.go).
//
// Nothing is written. It needs CAP_SYS_ADMIN (or CAP_BPF and CAP_PERFMON), Linux
// 5.14 and BTF, and is not to be had under lockdown "confidentiality".
package kmem

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Layout of the map's one value: result, address, length, task, data.
const (
	resultOff = 0
	addrOff   = 8
	lenOff    = 16
	taskOff   = 24
	dataOff   = 32
	chunk     = 4096
)

// ErrMemory is an address that cannot be read.
var ErrMemory = errors.New("kernel memory cannot be read")

// Reader reads kernel memory. It is for one goroutine at a time.
type Reader struct {
	prog  *ebpf.Program
	value *ebpf.Map
	spec  *btf.Spec
	// pages are the places of struct page and of the pages themselves, once
	// they are known.
	pages *pageMap
}

// Open loads the program.
func Open() (*Reader, error) {
	r := new(Reader)
	var err error
	if r.spec, err = btf.LoadKernelSpec(); err != nil {
		return nil, fmt.Errorf("type information of the kernel: %w", err)
	}
	r.value, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: dataOff + chunk, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make BPF map: %w", err)
	}
	r.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Syscall, Flags: sleepable, License: "GPL", Instructions: r.program()})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load BPF program: %w", err), r.value.Close())
	}
	return r, nil
}

// sleepable is BPF_F_SLEEPABLE, which programs of this type must have.
const sleepable = 1 << 4

// program copies as the value asks for.
func (r *Reader) program() asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, r.value.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.FnGetCurrentTask.Call(),
		asm.StoreMem(asm.R6, taskOff, asm.R0, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, lenOff, asm.DWord),
		asm.JGT.Imm(asm.R2, chunk, "out"),
		asm.LoadMem(asm.R3, asm.R6, addrOff, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Add.Imm(asm.R1, dataOff),
		asm.FnProbeReadKernel.Call(),
		asm.StoreMem(asm.R6, resultOff, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
}

// Close unloads it.
func (r *Reader) Close() error { return errors.Join(r.prog.Close(), r.value.Close()) }

// run has n bytes at addr copied and gives the value.
func (r *Reader) run(addr uint64, n int) ([]byte, error) {
	value := make([]byte, dataOff+chunk)
	binary.NativeEndian.PutUint64(value[resultOff:], ^uint64(0))
	binary.NativeEndian.PutUint64(value[addrOff:], addr)
	binary.NativeEndian.PutUint64(value[lenOff:], uint64(n))
	if err := r.value.Put(uint32(0), value); err != nil {
		return nil, err
	}
	if _, err := r.prog.Run(&ebpf.RunOptions{}); err != nil {
		return nil, fmt.Errorf("run BPF program: %w", err)
	}
	if err := r.value.Lookup(uint32(0), value); err != nil {
		return nil, err
	}
	return value, nil
}

// Read fills b with what is at addr.
func (r *Reader) Read(addr uint64, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), chunk)
		value, err := r.run(addr, n)
		if err != nil {
			return err
		}
		if binary.NativeEndian.Uint64(value[resultOff:]) != 0 {
			return fmt.Errorf("%w: %d bytes at %#x", ErrMemory, n, addr)
		}
		copy(b, value[dataOff:dataOff+n])
		addr, b = addr+uint64(n), b[n:]
	}
	return nil
}

// task gives the address of our own struct task_struct.
func (r *Reader) task() (uint64, error) {
	value, err := r.run(0, 0)
	if err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(value[taskOff:]), nil
}

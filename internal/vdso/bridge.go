package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// Jump is code that is written over the beginning of an old function.
type Jump struct {
	// Offset is its place in the old image, in bytes.
	Offset uint64
	Code   []byte
}

// jumpSize is the length of movabs $target, %r11; jmp *%r11. The calling convention leaves r11 to who is called.
const jumpSize = 13

func jump(offset, target uint64) Jump {
	code := append([]byte{0x49, 0xbb}, binary.LittleEndian.AppendUint64(nil, target)...)
	return Jump{offset, append(code, 0x41, 0xff, 0xe3)}
}

// Inside tells whether at, an offset in the old image, is in the middle of the jump: who stood there cannot go on. At its
// beginning one can.
func (j *Jump) Inside(at uint64) bool { return at > j.Offset && at < j.Offset+uint64(len(j.Code)) }

// Bridge gives the jumps from the functions of the image old to those of the image now, which is mapped at address
// base. Functions without a successor, and those that are shorter than a jump, have none.
func Bridge(old, now []byte, base uint64) ([]Jump, error) {
	from, err := functions(old)
	if err != nil {
		return nil, fmt.Errorf("vdso of the image: %w", err)
	}
	to, err := functions(now)
	if err != nil {
		return nil, fmt.Errorf("vdso of this kernel: %w", err)
	}
	var jumps []Jump
	seen := map[uint64]bool{}
	for _, f := range from {
		target, known := to[f.name]
		if !known || seen[f.offset] || f.size < jumpSize {
			continue
		}
		seen[f.offset] = true
		jumps = append(jumps, jump(f.offset, base+target.offset))
	}
	return jumps, nil
}

// function is one that a vdso has for programs.
type function struct {
	name string
	// offset is its place in the image, size its length, in bytes.
	offset, size uint64
}

// errNoFunctions means that an image is a vdso of no kind that is known.
var errNoFunctions = errors.New("has no functions")

// functions reads the table of dynamic symbols.
func functions(image []byte) (map[string]function, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	if file.Class != elf.ELFCLASS64 || file.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("is for %v", file.Machine)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	all := map[string]function{}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF {
			continue
		}
		// Old kernels linked it to an address near the end.
		for _, p := range file.Progs {
			if p.Type != elf.PT_LOAD || s.Value < p.Vaddr || s.Value-p.Vaddr > p.Filesz {
				continue
			}
			f := function{name: s.Name, offset: s.Value - p.Vaddr + p.Off, size: s.Size}
			if f.offset <= uint64(len(image)) && f.size <= uint64(len(image))-f.offset {
				all[s.Name] = f
			}
		}
	}
	if len(all) == 0 {
		return nil, errNoFunctions
	}
	return all, nil
}

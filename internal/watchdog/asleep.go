package watchdog

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// asleepBase is the address of the program in its memory.
const asleepBase = 0x400000

// asleepProgram is the ELF file of the program that sleeps: two headers and the code (elf(5)).
func asleepProgram() ([]byte, error) {
	code := asleepCode()
	if code == nil {
		return nil, errors.ErrUnsupported
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
	}
	var segment elf.Prog64
	header.Ehsize, header.Phentsize, header.Phnum = uint16(binary.Size(header)), uint16(binary.Size(segment)), 1
	header.Phoff = uint64(header.Ehsize)
	start := uint64(header.Ehsize) + uint64(header.Phentsize)
	header.Entry = asleepBase + start
	size := start + uint64(len(code))
	segment = elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: asleepBase, Paddr: asleepBase, Filesz: size, Memsz: size, Align: 0x1000,
	}
	var file bytes.Buffer
	for _, part := range []any{header, segment, code} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return file.Bytes(), nil
}

// asleepFile is the program in a memfd, open for reading alone: the kernel executes nothing that somebody may
// write to (ETXTBSY).
func asleepFile() (*os.File, error) {
	program, err := asleepProgram()
	if err != nil {
		return nil, err
	}
	// A child that another thread forks meanwhile would have it open for writing until its exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.MemfdCreate("rethaw-watchdog", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every memfd may be executed
		fd, err = unix.MemfdCreate("rethaw-watchdog", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	writable := os.NewFile(uintptr(fd), "rethaw-watchdog")
	defer writable.Close()
	if _, err := writable.Write(program); err != nil {
		return nil, err
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(fd))
}

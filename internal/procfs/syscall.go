package procfs

// Syscall is /proc/PID/task/TID/syscall (proc_pid_syscall(5)): where a thread that
// is blocked is in the kernel.
type Syscall struct {
	// Running is true for a thread that was not blocked; nothing else is known.
	Running bool
	// Number is that of the system call, -1 for a thread blocked otherwise (a
	// page fault, a stop outside of a system call).
	Number int64
	// Args are the six arguments, zero if Number is -1.
	Args [6]uint64
	// SP and PC are the thread's stack pointer and program counter.
	SP, PC uint64
}

// ParseSyscall reads /proc/PID/task/TID/syscall.
func ParseSyscall(b []byte) (Syscall, error) {
	line, _ := nextLine(b)
	first, rest := nextField(line)
	if string(first) == "running" {
		return Syscall{Running: true, Number: -1}, nil
	}
	var s Syscall
	var ok bool
	if s.Number, ok = parseInt(first); !ok {
		return Syscall{}, badLine("syscall", 1, line, "no number of a system call")
	}
	to := []*uint64{&s.SP, &s.PC}
	if s.Number != -1 {
		to = []*uint64{&s.Args[0], &s.Args[1], &s.Args[2], &s.Args[3], &s.Args[4], &s.Args[5], &s.SP, &s.PC}
	}
	for _, p := range to {
		var f []byte
		f, rest = nextField(rest)
		if *p, ok = parseHex(f); !ok {
			return Syscall{}, badLine("syscall", 1, line, "a field is missing or not hexadecimal")
		}
	}
	if len(trim(rest)) != 0 {
		return Syscall{}, badLine("syscall", 1, line, "more fields than known")
	}
	return s, nil
}

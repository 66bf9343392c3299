package sleeping

import "golang.org/x/sys/unix"

// CallOf returns the system call that registers show, which are those of a
// thread interrupted in it.
func CallOf(r *unix.PtraceRegs) Call {
	return Call{
		NR:   int(int64(r.Orig_rax)),
		Args: [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9},
		Ret:  int64(r.Rax),
		SP:   r.Rsp,
	}
}

// Apply changes the registers of a thread that stands behind its syscall
// instruction (2 bytes) so that it executes that once more. orig_rax is set to
// -1, lest the kernel restart anything by itself.
func (c Change) Apply(r *unix.PtraceRegs) {
	r.Rip -= 2
	r.Rax = uint64(c.NR)
	r.Orig_rax = ^uint64(0)
	r.Rdi, r.Rsi, r.Rdx = c.Args[0], c.Args[1], c.Args[2]
	r.R10, r.R8, r.R9 = c.Args[3], c.Args[4], c.Args[5]
}

package sleeping

import "golang.org/x/sys/unix"

// CallOf returns the system call that registers show. The kernel keeps the first
// argument apart on this machine, so what is shown is no call.
func CallOf(r *unix.PtraceRegs) Call {
	c := Call{NR: -1, SP: r.Sp}
	copy(c.Args[:], r.Regs[:6])
	return c
}

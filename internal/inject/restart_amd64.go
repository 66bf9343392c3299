package inject

import (
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// Results with which the kernel asks itself to restart a system call
// (include/linux/errno.h); a program never sees them.
const (
	eRestartSys          = 512
	eRestartNoIntr       = 513
	eRestartNoHand       = 514
	eRestartRestartBlock = 516
)

// syscallLen is the length of the syscall instruction.
const syscallLen = 2

// noSyscall in Orig_rax tells the kernel that there is nothing to restart.
const noSyscall = ^uint64(0)

// Interrupted tells whether the thread was stopped inside a system call.
func Interrupted(r *ptrace.Registers) bool { return int64(r.Orig_rax) >= 0 }

// polls are the waits that return plain EINTR when they are stopped, though no
// signal is there: the kernel would not restart them (fs/eventpoll.c,
// kernel/signal.c, ipc/sem.c, fs/aio.c). So do sockets with a timeout
// (SO_RCVTIMEO, SO_SNDTIMEO; sock_intr_errno of include/net/sock.h).
var polls = map[uint64]bool{
	unix.SYS_EPOLL_WAIT: true, unix.SYS_EPOLL_PWAIT: true, unix.SYS_EPOLL_PWAIT2: true,
	unix.SYS_RT_SIGTIMEDWAIT: true, unix.SYS_SEMOP: true, unix.SYS_SEMTIMEDOP: true,
	unix.SYS_IO_GETEVENTS: true, unix.SYS_IO_PGETEVENTS: true,
	unix.SYS_READ: true, unix.SYS_READV: true, unix.SYS_RECVFROM: true, unix.SYS_RECVMSG: true, unix.SYS_RECVMMSG: true,
	unix.SYS_WRITE: true, unix.SYS_WRITEV: true, unix.SYS_SENDTO: true, unix.SYS_SENDMSG: true, unix.SYS_SENDMMSG: true,
	unix.SYS_ACCEPT: true, unix.SYS_ACCEPT4: true, unix.SYS_CONNECT: true,
	unix.SYS_SELECT: true, unix.SYS_PSELECT6: true, unix.SYS_PPOLL: true,
}

// Breaks tells whether a system call returns EINTR when it is stopped.
func Breaks(nr int) bool { return polls[uint64(nr)] }

// code gives a restart code the form that it has in the register.
func code(n int64) uint64 { return uint64(-n) }

// Reissue turns a stopped epoll_wait or the like, which has returned EINTR, into
// one that the kernel issues again, unless a handler of the program runs first:
// then it returns EINTR. Others are left to the kernel, which restarts them by
// its own rules. It reports whether it changed anything.
func Reissue(r *ptrace.Registers) bool {
	if !Interrupted(r) || !polls[r.Orig_rax] || int64(r.Rax) != -int64(unix.EINTR) {
		return false
	}
	r.Rax = code(eRestartNoHand)
	return true
}

// Restarted returns the registers with which the thread goes on if the kernel
// has no part in it: an interrupted system call is issued again.
func Restarted(r ptrace.Registers) ptrace.Registers {
	if Interrupted(&r) {
		switch -int64(r.Rax) {
		case eRestartSys, eRestartNoIntr, eRestartNoHand:
			r.Rax = r.Orig_rax
			r.Rip -= syscallLen
		case eRestartRestartBlock:
			r.Rax = unix.SYS_RESTART_SYSCALL
			r.Rip -= syscallLen
		}
	}
	r.Orig_rax = noSyscall
	return r
}

// Settle makes registers of an image fit for a thread whose kernel state is new:
// a system call that would go on from what the kernel had kept of it
// (restart_syscall(2)) is issued again instead, or returns EINTR after a
// handler, as it would have.
func Settle(r *ptrace.Registers) {
	if Interrupted(r) && -int64(r.Rax) == eRestartRestartBlock {
		r.Rax = code(eRestartNoHand)
	}
}

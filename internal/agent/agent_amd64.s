#include "textflag.h"

// The children of both functions share the memory of the program, and that of
// the first one also the stack pointer: no CALL, no PUSH, no stack frame here.
// R12 and R13 survive a system call; RCX and R11 do not.

#define SYS_read           0
#define SYS_rt_sigprocmask 14
#define SYS_pwrite64       18
#define SYS_execve         59
#define SYS_exit           60
#define SYS_exit_group     231
#define SYS_clone3         435
#define SYS_close_range    436

// func clonePwrite(args *cloneArgs, size uintptr, w *pwrite) int
TEXT ·clonePwrite(SB), NOSPLIT, $0-32
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ w+16(FP), R12
	MOVQ $SYS_clone3, AX
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, ret+24(FP)
	RET

child:
	MOVQ 0(R12), DI
	MOVQ 8(R12), SI
	MOVQ 16(R12), DX
	XORL R10, R10
	MOVQ $SYS_pwrite64, AX
	SYSCALL
	MOVQ AX, 24(R12)
	XORL DI, DI
	MOVQ $SYS_exit, AX
	SYSCALL
	INT  $3

// func cloneExec(args *cloneArgs, size uintptr, e *execute) int
TEXT ·cloneExec(SB), NOSPLIT, $0-32
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ e+16(FP), R12
	MOVQ $SYS_clone3, AX
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, ret+24(FP)
	RET

child:
	MOVQ 0(R12), R13     // the pipe
	MOVQ $3, DI          // close_range(3, pipe-1)
	LEAQ -1(R13), SI
	XORL DX, DX
	MOVQ $SYS_close_range, AX
	SYSCALL
	LEAQ 1(R13), DI      // close_range(pipe+1, ~0)
	MOVL $0xffffffff, SI
	XORL DX, DX
	MOVQ $SYS_close_range, AX
	SYSCALL

wait:
	MOVQ R13, DI
	LEAQ 48(R12), SI
	MOVL $1, DX
	MOVQ $SYS_read, AX
	SYSCALL
	CMPQ AX, $-4         // EINTR
	JEQ  wait
	CMPQ AX, $1
	JNE  exit
	MOVL $2, DI          // SIG_SETMASK
	LEAQ 40(R12), SI
	XORL DX, DX
	MOVL $8, R10
	MOVQ $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ 8(R12), DI
	MOVQ 16(R12), SI
	MOVQ 24(R12), DX
	MOVQ $SYS_execve, AX
	SYSCALL
	MOVQ AX, 32(R12)

exit:
	MOVL $127, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT  $3

#include "textflag.h"

// The children of both functions share the memory of the program, and that of
// the first one also the stack pointer: no calls, no stack frame here. R19 and
// R20 survive a system call.

#define SYS_read           63
#define SYS_pwrite64       68
#define SYS_exit           93
#define SYS_exit_group     94
#define SYS_rt_sigprocmask 135
#define SYS_execve         221
#define SYS_clone3         435
#define SYS_close_range    436

// func clonePwrite(args *cloneArgs, size uintptr, w *pwrite) int
TEXT ·clonePwrite(SB), NOSPLIT, $0-32
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD w+16(FP), R19
	MOVD $SYS_clone3, R8
	SVC
	CBZ  R0, child
	MOVD R0, ret+24(FP)
	RET

child:
	MOVD 0(R19), R0
	MOVD 8(R19), R1
	MOVD 16(R19), R2
	MOVD ZR, R3
	MOVD $SYS_pwrite64, R8
	SVC
	MOVD R0, 24(R19)
	MOVD ZR, R0
	MOVD $SYS_exit, R8
	SVC
	BRK

// func cloneExec(args *cloneArgs, size uintptr, e *execute) int
TEXT ·cloneExec(SB), NOSPLIT, $0-32
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD e+16(FP), R19
	MOVD $SYS_clone3, R8
	SVC
	CBZ  R0, child
	MOVD R0, ret+24(FP)
	RET

child:
	MOVD 0(R19), R20         // the pipe
	MOVD $3, R0              // close_range(3, pipe-1)
	SUB  $1, R20, R1
	MOVD ZR, R2
	MOVD $SYS_close_range, R8
	SVC
	ADD  $1, R20, R0         // close_range(pipe+1, ~0)
	MOVD $0xffffffff, R1
	MOVD ZR, R2
	MOVD $SYS_close_range, R8
	SVC

wait:
	MOVD R20, R0
	ADD  $48, R19, R1
	MOVD $1, R2
	MOVD $SYS_read, R8
	SVC
	CMN  $4, R0              // EINTR
	BEQ  wait
	CMP  $1, R0
	BNE  exit
	MOVD $2, R0              // SIG_SETMASK
	ADD  $40, R19, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD 8(R19), R0
	MOVD 16(R19), R1
	MOVD 24(R19), R2
	MOVD $SYS_execve, R8
	SVC
	MOVD R0, 32(R19)

exit:
	MOVD $127, R0
	MOVD $SYS_exit_group, R8
	SVC
	BRK

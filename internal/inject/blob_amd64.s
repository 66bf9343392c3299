#include "textflag.h"

// The code that runs inside the task. It is position independent and never
// runs in this process: Go copies its bytes.
//
//	RBX  the slot      R12  the last command that was run
//	R13  next call     R14  calls left
//	R15  not 0: these are the cleanup calls

// func blobStart() uintptr
TEXT ·blobStart(SB), NOSPLIT|NOFRAME, $0-8
	LEAQ ·blob(SB), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·blob(SB), NOSPLIT|NOFRAME, $0
	XORL R15, R15
wait:
	MOVQ 16(BX), AX
	MOVL (AX), AX
	TESTL $0x40000000, AX
	JNZ  die
	MOVL (BX), AX
	CMPL AX, R12
	JNE  run
	MOVQ R12, 32(BX)
	LEAQ 32(BX), DI
	MOVL $2, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $449, AX
	SYSCALL
	JMP  wait
run:
	MOVL AX, R12
	LEAQ 256(BX), R13
	MOVQ 8(BX), R14
next:
	TESTQ R14, R14
	JZ   ran
	TESTQ R15, R15
	JNZ  call
	MOVQ 16(BX), AX
	MOVL (AX), AX
	TESTL $0x40000000, AX
	JNZ  die
call:
	MOVQ 0(R13), AX
	MOVQ 8(R13), DI
	MOVQ 16(R13), SI
	MOVQ 24(R13), DX
	MOVQ 32(R13), R10
	MOVQ 40(R13), R8
	MOVQ 48(R13), R9
	SYSCALL
	MOVQ AX, 56(R13)
	ADDQ $64, R13
	DECQ R14
	TESTQ R15, R15
	JNZ  next
	CMPQ 24(BX), $0
	JEQ  next
	CMPQ AX, $-4095
	JCS  next
ran:
	TESTQ R15, R15
	JNZ  back
	MOVL R12, 4(BX)
	LEAQ 4(BX), DI
	MOVL $1, SI
	MOVL $0x7fffffff, DX
	MOVL $202, AX
	SYSCALL
	JMP  wait
die:
	MOVL $1, R15
	LEAQ 24832(BX), R13
	MOVQ 104(BX), R14
	JMP  next
back:
	MOVQ 96(BX), SP
	PUSHQ 80(BX)
	POPFQ
	JMP  88(BX)
	// The end is marked for Go to find.
	BYTE $0x0f; BYTE $0x0b; BYTE $0x52; BYTE $0x45; BYTE $0x54; BYTE $0x48; BYTE $0x41; BYTE $0x57

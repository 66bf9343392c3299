/*
 * State: threads that loop in user space without a system call, every register holding a value that only this process
 * knows: general registers, flags, all of xmm/ymm/zmm and the mask registers (where the processor has them), x87 stack
 * and control word, MXCSR, GS base.
 * Wrong could go: upper halves of vector registers, zmm16-31, k0-7, the x87 tag word, rounding modes, DF, the red zone
 * below the stack pointer, FS or GS base of another thread.
 */
#include "harness.h"
#include <asm/prctl.h>
#include <pthread.h>

struct __attribute__((aligned(64))) regs {
	uint64_t gp[16];   /* rax rbx rcx rdx rsi rdi rbp - r8..r15, then flags */
	uint64_t red[2];   /* below the stack pointer */
	uint64_t k[8];
	uint8_t vec[32][64];
	uint8_t fx[512];   /* x87 and MXCSR */
};
enum { SSE, AVX, AVX512, NT = 3 };
static const char *const kinds[] = {"sse", "avx", "avx512"};
static struct spin {
	struct regs in, out;
	uint64_t loops;
	int kind, index, round;
} spins[NT];
static int have;

#define V4(op, w, a, b, c, d) op(w, a) op(w, b) op(w, c) op(w, d)
#define V16(op, w) V4(op, w, 0, 1, 2, 3) V4(op, w, 4, 5, 6, 7) V4(op, w, 8, 9, 10, 11) V4(op, w, 12, 13, 14, 15)
#define V32(op, w) V16(op, w) V4(op, w, 16, 17, 18, 19) V4(op, w, 20, 21, 22, 23) V4(op, w, 24, 25, 26, 27) V4(op, w, 28, 29, 30, 31)
#define STR_(x) #x
#define STR(x) STR_(x)
#define LOADX(w, n) "movdqu 208+64*" STR(n) "(%%rdi), %%xmm" STR(n) "\n"
#define SAVEX(w, n) "movdqu %%xmm" STR(n) ", 208+64*" STR(n) "(%%rdi)\n"
#define LOADY(w, n) "vmovdqu 208+64*" STR(n) "(%%rdi), %%ymm" STR(n) "\n"
#define SAVEY(w, n) "vmovdqu %%ymm" STR(n) ", 208+64*" STR(n) "(%%rdi)\n"
#define LOADZ(w, n) "vmovdqu64 208+64*" STR(n) "(%%rdi), %%zmm" STR(n) "\n"
#define SAVEZ(w, n) "vmovdqu64 %%zmm" STR(n) ", 208+64*" STR(n) "(%%rdi)\n"
#define LOADK(w, n) "kmovq 144+8*" STR(n) "(%%rdi), %%k" STR(n) "\n"
#define SAVEK(w, n) "kmovq %%k" STR(n) ", 144+8*" STR(n) "(%%rdi)\n"
#define LOADG "mov 0(%%rdi),%%rax\n mov 8(%%rdi),%%rbx\n mov 16(%%rdi),%%rcx\n mov 24(%%rdi),%%rdx\n mov 32(%%rdi),%%rsi\n" \
	"mov 48(%%rdi),%%rbp\n mov 56(%%rdi),%%r8\n mov 64(%%rdi),%%r9\n mov 72(%%rdi),%%r10\n mov 80(%%rdi),%%r11\n" \
	"mov 88(%%rdi),%%r12\n mov 96(%%rdi),%%r13\n mov 104(%%rdi),%%r14\n mov 112(%%rdi),%%r15\n"
#define SAVEG "mov %%rax,0(%%rdi)\n mov %%rbx,8(%%rdi)\n mov %%rcx,16(%%rdi)\n mov %%rdx,24(%%rdi)\n mov %%rsi,32(%%rdi)\n" \
	"mov %%rbp,48(%%rdi)\n mov %%r8,56(%%rdi)\n mov %%r9,64(%%rdi)\n mov %%r10,72(%%rdi)\n mov %%r11,80(%%rdi)\n" \
	"mov %%r12,88(%%rdi)\n mov %%r13,96(%%rdi)\n mov %%r14,104(%%rdi)\n mov %%r15,112(%%rdi)\n"
/*
 * The loop. gs:0 holds the address of the struct, gs:8 the go word: so even the base of the loop's own test is
 * state. The frame is left below by 256 bytes so that compiler's red zone and ours do not meet.
 */
#define SPIN(load, save)                                                                                                   \
	asm volatile("sub $256, %%rsp\n push %%rbp\n push %%rbx\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n pushfq\n" \
		     "fxrstor64 2256(%%rdi)\n" load                                                                        \
		     "mov 128(%%rdi),%%rax\n mov %%rax,-8(%%rsp)\n mov 136(%%rdi),%%rax\n mov %%rax,-128(%%rsp)\n" LOADG     \
		     "mov 40(%%rdi), %%rdi\n std\n"                                                                        \
		     "1: addq $1, %%gs:16\n pause\n cmpq $0, %%gs:8\n je 1b\n"                                               \
		     "xchg %%rdi, %%gs:0\n" SAVEG "mov %%gs:0, %%rax\n mov %%rax, 40(%%rdi)\n mov %%rdi, %%gs:0\n"         \
		     "mov -8(%%rsp),%%rax\n mov %%rax,128(%%rdi)\n mov -128(%%rsp),%%rax\n mov %%rax,136(%%rdi)\n"         \
		     "pushfq\n pop %%rax\n mov %%rax, 120(%%rdi)\n cld\n" save "fxsave64 2256(%%rdi)\n"                       \
		     "popfq\n pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbx\n pop %%rbp\n add $256, %%rsp\n"     \
		     : "+D"(r)::"rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", \
		       "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

struct gsarea { /* what GS base points to; the layout of the loop above */
	struct regs *r;
	volatile uint64_t go, loops;
};
static struct gsarea areas[NT];

static __attribute__((noinline)) void spin(struct regs *r, int kind)
{
	if (kind == AVX512)
		SPIN(V32(LOADZ, z) V4(LOADK, k, 0, 1, 2, 3) V4(LOADK, k, 4, 5, 6, 7), V32(SAVEZ, z) V4(SAVEK, k, 0, 1, 2, 3) V4(SAVEK, k, 4, 5, 6, 7) "vzeroall\n");
	else if (kind == AVX)
		SPIN(V16(LOADY, y), V16(SAVEY, y) "vzeroall\n");
	else
		SPIN(V16(LOADX, x), V16(SAVEX, x));
}
static void prepare(struct spin *s)
{
	struct regs *r = &s->in;
	fill(r, sizeof *r, 7000 + (uint64_t)(s->index * 1000 + s->round));
	asm volatile("fninit\n fldpi\n fldl2e\n fld1\n fxsave64 %0\n fninit" : "=m"(r->fx));
	uint16_t cw = (uint16_t)(0x037f | s->index % 4 << 10); /* rounding control */
	uint32_t mxcsr = 0x1f80u | (uint32_t)(s->index % 4) << 13 | (s->index & 1 ? 0x8040u : 0) | 0x21u;
	memcpy(r->fx, &cw, 2);
	memcpy(r->fx + 24, &mxcsr, 4);
	memcpy(r->fx + 32, &s->in.gp[3], 7); /* bits of our own in ST(0) */
	memset(r->fx + 8, 0, 16); /* instruction and data pointers */
	memcpy(&s->out, r, sizeof *r);
}
static void judge(struct spin *s)
{
	struct regs *a = &s->in, *b = &s->out;
	size_t width = s->kind == AVX512 ? 64 : s->kind == AVX ? 32 : 16;
	for (int i = 0; i < 15; i++)
		CHECK(a->gp[i] == b->gp[i], "%s %d: general register %d is %lx, not %lx", kinds[s->kind], s->index, i, b->gp[i], a->gp[i]);
	CHECK(b->gp[15] & 0x400, "%s %d: the direction flag is lost: %lx", kinds[s->kind], s->index, b->gp[15]);
	CHECK(!memcmp(a->red, b->red, sizeof a->red), "%s %d: the red zone was overwritten", kinds[s->kind], s->index);
	for (int i = 0; i < (s->kind == AVX512 ? 32 : 16); i++)
		CHECK(!memcmp(a->vec[i], b->vec[i], width), "%s %d: vector register %d", kinds[s->kind], s->index, i);
	CHECK(s->kind != AVX512 || !memcmp(a->k, b->k, sizeof a->k), "%s %d: mask registers", kinds[s->kind], s->index);
	CHECK(!memcmp(a->fx, b->fx, 6), "%s %d: x87 control, status or tag word: %02x%02x %02x%02x %02x", kinds[s->kind], s->index, b->fx[1], b->fx[0], b->fx[3], b->fx[2], b->fx[4]);
	CHECK(!memcmp(a->fx + 24, b->fx + 24, 4), "%s %d: MXCSR %02x%02x", kinds[s->kind], s->index, b->fx[25], b->fx[24]);
	for (int i = 0; i < 8; i++)
		CHECK(!memcmp(a->fx + 32 + 16 * i, b->fx + 32 + 16 * i, 10), "%s %d: x87 register %d", kinds[s->kind], s->index, i);
}
static void *holder(void *arg)
{
	struct spin *s = arg;
	unsigned long gs = (unsigned long)&areas[s->index], fs0, fs, now;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs0);
	MUST(syscall(SYS_arch_prctl, ARCH_SET_GS, gs));
	for (;; s->round++) {
		prepare(s);
		areas[s->index].r = &s->out;
		spin(&s->out, s->kind);
		asm volatile("fninit\n ldmxcsr %0" ::"m"((uint32_t){0x1f80}));
		judge(s);
		CHECK(!syscall(SYS_arch_prctl, ARCH_GET_GS, &now) && now == gs, "%d: GS base is %lx, not %lx", s->index, now, gs);
		CHECK(!syscall(SYS_arch_prctl, ARCH_GET_FS, &fs) && fs == fs0, "%d: FS base is %lx, not %lx", s->index, fs, fs0);
		areas[s->index].go = 0;
		__atomic_store_n(&s->loops, areas[s->index].loops, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&have, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	_Static_assert(__builtin_offsetof(struct regs, k) == 144 && __builtin_offsetof(struct regs, vec) == 208 && __builtin_offsetof(struct regs, fx) == 2256, "the asm's offsets");
	int max = __builtin_cpu_supports("avx512bw") ? AVX512 : __builtin_cpu_supports("avx2") ? AVX : SSE;
	h_init();
	for (int i = 0; i < NT; i++) {
		pthread_t t;
		spins[i].index = i;
		spins[i].kind = i <= max ? i : max;
		if (pthread_create(&t, NULL, holder, &spins[i]) || !WAIT_FOR(areas[i].loops))
			DIE("thread %d does not spin", i);
	}
	ready();
	while (wait_check()) {
		for (int i = 0; i < NT; i++) {
			uint64_t n = areas[i].loops;
			CHECK(WAIT_FOR(areas[i].loops != n), "thread %d does not run", i);
		}
		have = 0;
		for (int i = 0; i < NT; i++)
			areas[i].go = 1;
		CHECK(WAIT_FOR(__atomic_load_n(&have, __ATOMIC_SEQ_CST) == NT), "%d of %d threads ended their loop", have, NT);
		h_sleep(20 * MS);
	}
	return 0;
}

/*
 * State: the widest vector registers of the processor kept over system calls that are interrupted: the program holds
 * them in registers only (hand-written loops) while it sleeps in nanosleep, poll and futex, and while it computes.
 * Wrong could go: upper halves dropped on the way through the kernel's signal or ptrace path, the call's result, its
 * time or the registers it must not touch; a saver's own vector code leaking into the task.
 */
#include "harness.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>

static int wide; /* bytes per register in use: 16, 32, 64 */
static uint64_t rounds[4], sums[2], steps[2];

/* held runs one system call with all vector registers loaded from in; they are stored to out afterwards */
#define R8(m, a) m(a, 0) m(a, 1) m(a, 2) m(a, 3) m(a, 4) m(a, 5) m(a, 6) m(a, 7)
#define R16(m, a) R8(m, a) m(a, 8) m(a, 9) m(a, 10) m(a, 11) m(a, 12) m(a, 13) m(a, 14) m(a, 15)
#define R32(m, a) R16(m, a) m(a, 16) m(a, 17) m(a, 18) m(a, 19) m(a, 20) m(a, 21) m(a, 22) m(a, 23) m(a, 24) m(a, 25) m(a, 26) m(a, 27) m(a, 28) m(a, 29) m(a, 30) m(a, 31)
#define LX(a, n) "movdqu 64*" #n "(%[in]), %%xmm" #n "\n"
#define SX(a, n) "movdqu %%xmm" #n ", 64*" #n "(%[out])\n"
#define LY(a, n) "vmovdqu 64*" #n "(%[in]), %%ymm" #n "\n"
#define SY(a, n) "vmovdqu %%ymm" #n ", 64*" #n "(%[out])\n"
#define LZ(a, n) "vmovdqu64 64*" #n "(%[in]), %%zmm" #n "\n"
#define SZ(a, n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%[out])\n"
#define XMMS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define HELD(load, save)                                                                                                \
	asm volatile(load "syscall\n" save                                                                               \
		     : "+a"(nr), "+r"(r10), "+r"(r8), "+r"(r9)                                                           \
		     : "D"(a), "S"(b), "d"(c), [in] "r"(in), [out] "r"(out)                                              \
		     : "rcx", "r11", "memory", "cc", XMMS)

static long held(long nr, long a, long b, long c, long d, const uint8_t *in, uint8_t *out)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = 0, r9 asm("r9") = 0;
	if (wide == 64)
		HELD(R32(LZ, ), R32(SZ, ) "vzeroupper\n");
	else if (wide == 32)
		HELD(R16(LY, ), R16(SY, ) "vzeroupper\n");
	else
		HELD(R16(LX, ), R16(SX, ));
	return nr;
}
static void *sleeper(void *arg)
{
	int i = (int)(intptr_t)arg;
	static const char *const names[] = {"nanosleep", "poll", "futex", "sched_yield"};
	uint8_t in[2048] __attribute__((aligned(64))), out[2048] __attribute__((aligned(64)));
	uint32_t word = 7;
	struct timespec t = {0, 450 * MS};
	for (uint64_t n = 0;; n++) {
		fill(in, sizeof in, 4000 + n * 4 + (uint64_t)i);
		memset(out, 0, sizeof out);
		int64_t from = h_now();
		long r = i == 0	  ? held(SYS_nanosleep, (long)&t, 0, 0, 0, in, out)
			 : i == 1 ? held(SYS_poll, 0, 0, 370, 0, in, out)
			 : i == 2 ? held(SYS_futex, (long)&word, FUTEX_WAIT, 7, (long)&t, in, out)
				  : held(SYS_sched_yield, 0, 0, 0, 0, in, out);
		CHECK(r == (i == 2 ? -ETIMEDOUT : 0), "%s: %s", names[i], strerror((int)-r));
		CHECK(i == 3 || h_now() - from >= 369 * MS, "%s: ended after %lld ms", names[i], (long long)((h_now() - from) / MS));
		for (int v = 0; v < (wide == 64 ? 32 : 16); v++)
			CHECK(!memcmp(in + 64 * v, out + 64 * v, (size_t)wide), "%s: vector register %d changed", names[i], v);
		__atomic_add_fetch(&rounds[i], 1, __ATOMIC_SEQ_CST);
		if (i == 3)
			h_sleep(MS);
	}
	return NULL;
}
/* compute runs a recurrence in 64-bit lanes of vector registers; step n's value is known by repeating it in integers */
static void *computer(void *arg)
{
	int i = (int)(intptr_t)arg;
	typedef uint64_t lanes __attribute__((vector_size(32)));
	lanes x = {h.nonce, h.nonce ^ 1, h.nonce ^ 2, h.nonce ^ 3};
	uint64_t y[4] = {h.nonce, h.nonce ^ 1, h.nonce ^ 2, h.nonce ^ 3};
	for (;;) {
		for (int n = 0; n < 200000; n++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			asm volatile("" : "+m"(*(char *)&i));
		}
		for (int n = 0; n < 200000; n++)
			for (int l = 0; l < 4; l++)
				y[l] ^= y[l] << 13, y[l] ^= y[l] >> 7, y[l] ^= y[l] << 17;
		for (int l = 0; l < 4; l++)
			CHECK(x[l] == y[l], "lane %d of the computation differs after %llu steps", l, (unsigned long long)steps[i]);
		sums[i] += x[0];
		__atomic_add_fetch(&steps[i], 1, __ATOMIC_SEQ_CST);
		h_sleep(MS);
	}
	return NULL;
}

int main(void)
{
	wide = __builtin_cpu_supports("avx512f") ? 64 : __builtin_cpu_supports("avx2") ? 32 : 16;
	h_init();
	for (int i = 0; i < 5; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, i < 4 ? sleeper : computer, (void *)(intptr_t)(i % 4)))
			DIE("pthread_create");
	}
	ready();
	while (wait_check()) {
		for (int i = 0; i < 4; i++) {
			uint64_t n = rounds[i];
			CHECK(WAIT_FOR(__atomic_load_n(&rounds[i], __ATOMIC_SEQ_CST) > n), "sleeper %d does not go on", i);
		}
		uint64_t n = steps[0];
		CHECK(WAIT_FOR(__atomic_load_n(&steps[0], __ATOMIC_SEQ_CST) > n), "the computation does not go on");
	}
	return 0;
}

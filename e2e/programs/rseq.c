/*
 * State: restartable sequences: the registrations that glibc made for every thread, and one made by hand with another
 * address and signature; threads that are inside a critical section nearly all the time.
 * Wrong could go: the registration lost (cpu_id stays as it was for ever), a critical section resumed in its middle
 * instead of at its abort handler: an increment that is then lost or done on another processor's counter.
 */
#include "harness.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/rseq.h>

enum { NT = 3, CPUS = 1024 };
#define OWN_SIG 0x0badf00d
struct slot { uint64_t n; char pad[56]; };
static struct slot counters[CPUS] __attribute__((aligned(64)));
static uint64_t done[NT], aborted[NT];
static volatile int pause_now, paused, own_ok;
static struct rseq own __attribute__((aligned(32)));
static volatile int own_round, own_answer;

static struct rseq *mine(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }

/* add increments this processor's counter by a load, a long way, and a store that commits. Returns 0 when aborted. */
static int add(struct rseq *rs)
{
	uint64_t base = (uint64_t)(uintptr_t)counters, tmp = 0, cpu, n = 200;
	int ok = 0;
	asm volatile(".pushsection __rseq_cs, \"aw\"\n .balign 32\n"
		     "3: .long 0, 0\n .quad 1f, 2f-1f, 4f\n .popsection\n"
		     "lea 3b(%%rip), %[tmp]\n mov %[tmp], %c[cs](%[rs])\n"
		     "1: mov %c[cpuid](%[rs]), %k[cpu]\n shl $6, %[cpu]\n add %[base], %[cpu]\n mov (%[cpu]), %[tmp]\n"
		     "5: dec %[n]\n jnz 5b\n" /* the long way: this is where it is interrupted */
		     "inc %[tmp]\n mov %[tmp], (%[cpu])\n"
		     "2: movl $1, %[ok]\n jmp 6f\n"
		     ".byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n"
		     "4: movl $0, %[ok]\n"
		     "6: movq $0, %c[cs](%[rs])\n"
		     : [ok] "+r"(ok), [tmp] "+r"(tmp), [n] "+r"(n), [cpu] "=&r"(cpu)
		     : [rs] "r"(rs), [base] "r"(base), [cs] "i"(offsetof(struct rseq, rseq_cs)), [cpuid] "i"(offsetof(struct rseq, cpu_id))
		     : "memory", "cc");
	return ok;
}
static void *adder(void *arg)
{
	int i = (int)(intptr_t)arg;
	for (uint64_t n = 1;; n++) {
		if (add(mine()))
			done[i]++;
		else
			__atomic_add_fetch(&aborted[i], 1, __ATOMIC_SEQ_CST);
		if (pause_now) {
			__atomic_add_fetch(&paused, 1, __ATOMIC_SEQ_CST);
			while (pause_now)
				h_sleep(MS);
		}
		if (n % 16384 == 0)
			h_sleep(2 * MS); /* leaves something of the machine to the others */
	}
	return NULL;
}
/* goes tells whether the kernel keeps the area up to date on each processor that we may use */
static int goes(struct rseq *rs)
{
	cpu_set_t all, one;
	int good = 1;
	sched_getaffinity(0, sizeof all, &all);
	for (int c = 0; c < CPUS; c++)
		if (CPU_ISSET(c, &all)) {
			CPU_ZERO(&one);
			CPU_SET(c, &one);
			sched_setaffinity(0, sizeof one, &one);
			good &= __atomic_load_n(&rs->cpu_id, __ATOMIC_SEQ_CST) == (unsigned)c && rs->cpu_id_start == (unsigned)c;
		}
	sched_setaffinity(0, sizeof all, &all);
	return good;
}
static void *by_hand(void *arg)
{
	(void)arg;
	if (syscall(SYS_rseq, mine(), __rseq_size ? 32 : 32, RSEQ_FLAG_UNREGISTER, 0x53053053) || syscall(SYS_rseq, &own, sizeof own, 0, OWN_SIG))
		DIE("registering by hand");
	own_ok = 1;
	for (int n = 0;; h_sleep(2 * MS))
		if (n != own_round) {
			n = own_round;
			CHECK(goes(&own), "the registration by hand: cpu_id is not kept");
			CHECK(syscall(SYS_rseq, &own, sizeof own, 0, OWN_SIG) < 0 && errno == EBUSY, "not registered, or not so: %s", strerror(errno));
			CHECK(syscall(SYS_rseq, &own, sizeof own, 0, OWN_SIG + 1) < 0 && errno == EPERM, "the signature is another: %s", strerror(errno));
			CHECK(mine()->cpu_id == (unsigned)RSEQ_CPU_ID_UNINITIALIZED, "glibc's area is in use again");
			own_answer = n;
		}
	return NULL;
}

int main(void)
{
	pthread_t t;
	h_init();
	if (!__rseq_size)
		SKIP("the C library registers no restartable sequences");
	for (int i = 0; i < NT; i++)
		if (pthread_create(&t, NULL, adder, (void *)(intptr_t)i))
			DIE("pthread_create");
	if (pthread_create(&t, NULL, by_hand, NULL) || !WAIT_FOR(own_ok))
		DIE("pthread_create");
	ready();
	while (wait_check()) {
		uint64_t sum = 0, want = 0;
		pause_now = 1;
		CHECK(WAIT_FOR(paused == NT), "a thread does not come out of its sequence");
		for (int i = 0; i < CPUS; i++)
			sum += counters[i].n;
		for (int i = 0; i < NT; i++)
			want += done[i];
		CHECK(sum == want, "%llu increments were done, %llu are there", (unsigned long long)want, (unsigned long long)sum);
		paused = 0, pause_now = 0;
		uint64_t n = done[0], a = 0;
		CHECK(WAIT_FOR(*(volatile uint64_t *)&done[0] > n), "the threads do not go on");
		for (int i = 0; i < NT; i++)
			a += __atomic_load_n(&aborted[i], __ATOMIC_SEQ_CST);
		CHECK(a > 0 || h_now() - h.last < SEC, "no sequence was ever aborted");
		CHECK(goes(mine()), "the main thread's registration is lost: cpu_id %d", (int)mine()->cpu_id);
		own_round++;
		CHECK(WAIT_FOR(own_answer == own_round), "the thread registered by hand does not answer");
	}
	return 0;
}

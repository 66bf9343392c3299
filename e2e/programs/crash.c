/*
 * State: a bit of everything that a checkpointer's death could damage, checked all the time: threads in short and in
 * endless nanosleep, futex, epoll_wait, poll, read, semop and sigwaitinfo, threads that compute with integers and with
 * vector registers, restartable sequences, an interval and a POSIX timer, a seccomp filter, a child tree that
 * passes numbers around.
 * Wrong could go: EINTR, an early or a spurious return, a register, a number lost; a stopped or traced task left behind,
 * a mapping, descriptor or thread too many, a signal mask not put back. Meant for kill -9 of a running checkpoint.
 */
#include "ring.h"
#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/sem.h>
#include <sys/time.h>

enum { SLEEP, PING, PONG, EVENT, GIVER, POLL, READ, SUM, VECTOR, RSEQ, FILTER, TICK, PTICK, MOVING, E_FUTEX = MOVING, E_EPOLL, E_POLL, E_READ, E_SEM, E_SLEEP, E_SIG, N };
static const char *const names[N] = {"nanosleep", "futex ping", "futex pong", "epoll_wait", "eventfd", "poll", "read", "sum", "vector", "rseq", "filter", "itimer", "posix timer",
				     "endless futex", "endless epoll", "endless poll", "endless read", "endless semop", "endless sleep", "endless sigwait"};
static volatile uint64_t count[N];
static pid_t tids[N];
static uint32_t turn, never;
static int ev, ep, quiet[2], quiet_ep, ring_in, ring_out, sem, wide;
static struct { uint64_t n; char pad[56]; } cpus[1024] __attribute__((aligned(64)));

#define BAD(fmt, ...) h_fail("%s: " fmt, names[me], __VA_ARGS__)
static void expect(int me, long r, long want) { if (r != want) BAD("returned %ld: %s", r, strerror(errno)); }

/* vector holds all registers for about a millisecond without a call and compares them */
static int vector(const uint8_t *in, uint8_t *out)
{
	uint64_t n = 400000;
#define L(n) "vmovdqu 32*" #n "(%[in]), %%ymm" #n "\n"
#define S(n) "vmovdqu %%ymm" #n ", 32*" #n "(%[out])\n"
#define LX(n) "movdqu 32*" #n "(%[in]), %%xmm" #n "\n"
#define SX(n) "movdqu %%xmm" #n ", 32*" #n "(%[out])\n"
#define ALL(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define HOLD(l, s) asm volatile(l "1: dec %[n]\n jnz 1b\n" s : [n] "+r"(n) : [in] "r"(in), [out] "r"(out) : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
	if (wide)
		HOLD(ALL(L), ALL(S) "vzeroupper\n");
	else
		HOLD(ALL(LX), ALL(SX));
	for (int i = 0; i < 16; i++)
		if (memcmp(in + 32 * i, out + 32 * i, wide ? 32 : 16))
			return i;
	return -1;
}
static int add(struct rseq *rs) /* as in rseq.c */
{
	uint64_t base = (uint64_t)(uintptr_t)cpus, tmp = 0, cpu, n = 300;
	int ok = 0;
	asm volatile(".pushsection __rseq_cs, \"aw\"\n .balign 32\n 3: .long 0, 0\n .quad 1f, 2f-1f, 4f\n .popsection\n"
		     "lea 3b(%%rip), %[tmp]\n mov %[tmp], %c[cs](%[rs])\n"
		     "1: mov %c[id](%[rs]), %k[cpu]\n shl $6, %[cpu]\n add %[base], %[cpu]\n mov (%[cpu]), %[tmp]\n"
		     "5: dec %[n]\n jnz 5b\n inc %[tmp]\n mov %[tmp], (%[cpu])\n"
		     "2: movl $1, %[ok]\n jmp 6f\n .byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n 4: movl $0, %[ok]\n 6: movq $0, %c[cs](%[rs])\n"
		     : [ok] "+r"(ok), [tmp] "+r"(tmp), [n] "+r"(n), [cpu] "=&r"(cpu)
		     : [rs] "r"(rs), [base] "r"(base), [cs] "i"(offsetof(struct rseq, rseq_cs)), [id] "i"(offsetof(struct rseq, cpu_id))
		     : "memory", "cc");
	return ok;
}
static void step(int me)
{
	static uint8_t in[512], out[512];
	uint64_t n = count[me], v = 0, x, y;
	struct timespec t = {0, (long)(h_word(5, n) % 15 + 1) * MS};
	struct epoll_event e;
	struct pollfd p = {quiet[0], POLLIN, 0};
	struct sembuf op = {0, -1, 0};
	sigset_t s;
	int64_t from = h_now();
	switch (me) {
	case SLEEP: expect(me, syscall(SYS_nanosleep, &t, &t), 0); goto timed;
	case PING: case PONG: /* turn counts up: even values are ping's */
		while ((x = __atomic_load_n(&turn, __ATOMIC_SEQ_CST)) % 2 != (uint64_t)(me == PONG))
			if (syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, (uint32_t)x, NULL, NULL, 0) && errno != EAGAIN)
				BAD("%s", strerror(errno));
		if (x / 2 != n) BAD("turn %llu in round %llu", (unsigned long long)x, (unsigned long long)n);
		if (me == PING) h_sleep(MS);
		__atomic_store_n(&turn, (uint32_t)x + 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		break;
	case EVENT: /* every event is taken before the next is given */
		expect(me, epoll_wait(ep, &e, 1, -1), 1), expect(me, read(ev, &v, 8), 8);
		if (v != n % 1000 + 1) BAD("event %llu, not %llu", (unsigned long long)v, (unsigned long long)(n % 1000 + 1));
		break;
	case GIVER:
		while (count[EVENT] != n) h_sleep(MS / 2);
		v = n % 1000 + 1, expect(me, write(ev, &v, 8), 8);
		break;
	case POLL: expect(me, poll(&p, 1, (int)(t.tv_nsec / MS)), 0); goto timed;
	case READ: /* once round the child tree */
		v = n * h.nonce, expect(me, write(ring_out, &v, 8), 8), expect(me, read(ring_in, &x, 8), 8);
		if (x != v + 3) BAD("%llx came back for %llx", (unsigned long long)x, (unsigned long long)v);
		h_sleep(MS);
		break;
	case SUM:
		for (x = y = h.nonce | 1, v = 0; v < 300000; v++) x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		for (; v; v--) y ^= y << 13, y ^= y >> 7, y ^= y << 17;
		if (x != y) BAD("%llx is not %llx", (unsigned long long)x, (unsigned long long)y);
		h_sleep(2 * MS);
		break;
	case VECTOR:
		fill(in, sizeof in, 900 + n), v = (uint64_t)vector(in, out);
		if (v != ~0ULL) BAD("register %d changed", (int)v);
		h_sleep(2 * MS);
		break;
	case RSEQ:
		for (int done = 0; done < 3000;) done += add((struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset));
		h_sleep(2 * MS);
		break;
	case FILTER:
		if (syscall(SYS_getppid) != -1 || errno != 77) BAD("getppid is allowed: %s", strerror(errno));
		h_sleep(MS);
		break;
	case TICK: case PTICK: case E_SIG:
		sigemptyset(&s), sigaddset(&s, me == TICK ? SIGALRM : me == PTICK ? 40 : 41);
		expect(me, syscall(SYS_rt_sigtimedwait, &s, NULL, NULL, 8), me == TICK ? SIGALRM : 40);
		break;
	case E_FUTEX: expect(me, syscall(SYS_futex, &never, FUTEX_WAIT, 0, NULL, NULL, 0), -2); break;
	case E_EPOLL: expect(me, epoll_wait(quiet_ep, &e, 1, -1), -2); break;
	case E_POLL: expect(me, poll(&p, 1, -1), -2); break;
	case E_READ: expect(me, read(quiet[0], &v, 1), -2); break;
	case E_SEM: expect(me, semop(sem, &op, 1), -2); break;
	case E_SLEEP: t.tv_sec = 1000000, expect(me, syscall(SYS_nanosleep, &t, NULL), -2); break;
	}
	return;
timed:
	x = h_word(5, n) % 15 + 1;
	if (h_now() - from < (int64_t)x * MS) BAD("ended after %lld us of %llu ms", (long long)((h_now() - from) / 1000), (unsigned long long)x);
}
static void *run(void *arg)
{
	int me = (int)(intptr_t)arg;
	tids[me] = (pid_t)syscall(SYS_gettid);
	for (;; count[me]++)
		step(me);
	return NULL;
}
/* layout tells what a checkpointer could leave behind: maps, descriptors, threads, masks, a tracer */
static void layout(char *out, size_t size)
{
	static char text[1 << 15];
	char key[2][64], path[64];
	DIR *d = opendir("/proc/self/fd");
	int fds = 0;
	size_t n = 0;
	while (d && readdir(d)) fds++;
	closedir(d);
	h_slurp("/proc/self/maps", text, sizeof text);
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
		if (!strstr(l, "[stack]") && !strstr(l, "[heap]"))
			n += (size_t)snprintf(out + n, size - n, "%s\n", l);
	for (int i = 0; i < N; i++) {
		snprintf(path, sizeof path, "/proc/self/task/%d/status", tids[i]);
		h_field(path, "SigBlk", key[0], 64), h_field(path, "TracerPid", key[1], 64);
		n += (size_t)snprintf(out + n, size - n, "%s: mask %s tracer %s\n", names[i], key[0], key[1]);
	}
	h_field("/proc/self/status", "Threads", key[0], 64), h_field("/proc/self/status", "Seccomp", key[1], 64);
	snprintf(out + n, size - n, "%d descriptors, %s threads, seccomp %s\n", fds, key[0], key[1]);
}

int main(void)
{
	static char was[1 << 15], is[1 << 15];
	pthread_t t;
	sigset_t all;
	h_init();
	wide = !!__builtin_cpu_supports("avx2");
	sigfillset(&all), sigprocmask(SIG_SETMASK, &all, NULL);
	fork_ring();
	ring_out = ring[0][1], ring_in = ring[3][0];
	MUST(pipe(quiet));
	ev = MUST(eventfd(0, 0)), ep = MUST(epoll_create1(0)), quiet_ep = MUST(epoll_create1(0)), sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	struct epoll_event e = {EPOLLIN, {0}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e)), MUST(epoll_ctl(quiet_ep, EPOLL_CTL_ADD, quiet[0], &e));
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
				  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){4, f}));
	for (int i = 0; i < N; i++)
		if (pthread_create(&t, NULL, run, (void *)(intptr_t)i) || !WAIT_FOR(*(volatile pid_t *)&tids[i]))
			DIE("pthread_create");
	MUST(setitimer(ITIMER_REAL, &(struct itimerval){{0, 10000}, {0, 10000}}, NULL));
	struct sigevent sev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 40};
	timer_t timer;
	MUST(timer_create(CLOCK_MONOTONIC, &sev, &timer)), MUST(timer_settime(timer, 0, &(struct itimerspec){{0, 10 * MS}, {0, 10 * MS}}, NULL));
	int64_t from = h_now();
	h_sleep(100 * MS);
	layout(is, sizeof is), layout(was, sizeof was); /* twice: the first may need memory */
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			uint64_t n = count[i];
			CHECK(i < MOVING ? WAIT_FOR(count[i] > n) : n == 0, "%s: %s", names[i], i < MOVING ? "does not go on" : "has ended");
		}
		for (int i = TICK; i <= PTICK; i++)
			CHECK((int64_t)count[i] <= (h_now() - from) / (10 * MS) + 2 && (int64_t)count[i] >= h.looks / 2 - 5, "%s: %llu ticks of 10 ms in %lld ms and %d looks", names[i], (unsigned long long)count[i], (long long)((h_now() - from) / MS), h.looks);
		uint64_t before = count[RSEQ], sum = 0;
		for (int i = 0; i < 1024; i++)
			sum += __atomic_load_n(&cpus[i].n, __ATOMIC_SEQ_CST);
		CHECK(sum >= before * 3000 && sum <= (count[RSEQ] + 1) * 3000, "rseq: %llu increments, %llu to %llu were done", (unsigned long long)sum, (unsigned long long)before * 3000, (unsigned long long)(count[RSEQ] + 1) * 3000);
		layout(is, sizeof is);
		for (char *a = was, *b = is; *a || *b; a += strcspn(a, "\n") + !!*a, b += strcspn(b, "\n") + !!*b) {
			size_t l = strcspn(a, "\n"), m = strcspn(b, "\n");
			if (l != m || strncmp(a, b, l)) {
				h_fail("left behind: was '%.*s', is '%.*s'", (int)l, a, (int)m, b);
				break;
			}
		}
	}
	semctl(sem, 0, IPC_RMID);
	return 0;
}

/*
 * State: a thread in each kind of wait that a stop from outside may disturb, each asserting that nothing disturbed it;
 * threads that compute in general, SSE and AVX registers and compare; a POSIX timer, an interval timer and a timerfd
 * that tick; a seccomp filter of its own on top. This is the program that rethaw is killed over.
 * Wrong could go: anything. EINTR, a register, a byte of memory, a tick too many, a thread that stays stopped.
 */
#include "harness.h"
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/timerfd.h>

enum { TIMED = 8, COMPUTE = 2, THREADS = 16 };
static volatile long beats[THREADS];
static volatile long ticks;
static int quiet_event, quiet_pipe[2], quiet_epoll;
static int quiet_word;

/* undisturbed is called with what a wait returned that nothing should have ended. */
static void undisturbed(const char *what, long result)
{
	h_fail("%s returned %ld: %s", what, result, strerror(errno));
	h_sleep(SEC);
}

/* The timed waits: each must end by its timeout alone, and not early. */
static long timed(int kind, struct timespec t)
{
	struct pollfd in = {.fd = quiet_event, .events = POLLIN};
	struct epoll_event event;
	struct timespec at;
	sigset_t none;
	uint64_t count;
	switch (kind) {
	case 0:
		return syscall(SYS_nanosleep, &t, NULL);
	case 1:
		return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
	case 2:
		return poll(&in, 1, (int)(t.tv_nsec / MS));
	case 3:
		return syscall(SYS_epoll_wait, quiet_epoll, &event, 1, (int)(t.tv_nsec / MS));
	case 4:
		return syscall(SYS_futex, &quiet_word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : -1;
	case 5:
		sigemptyset(&none);
		sigaddset(&none, SIGUSR2);
		return sigtimedwait(&none, NULL, &t) == -1 && errno == EAGAIN ? 0 : -1;
	case 6:
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += t.tv_nsec;
		at.tv_sec += at.tv_nsec / SEC;
		at.tv_nsec %= SEC;
		return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	default: {
		static __thread int fd = -1;
		if (fd < 0)
			fd = timerfd_create(CLOCK_MONOTONIC, 0);
		struct itimerspec once = {.it_value = t};
		timerfd_settime(fd, 0, &once, NULL);
		return read(fd, &count, sizeof count) == sizeof count && count == 1 ? 0 : -1;
	}
	}
}

static void *wait_timed(void *arg)
{
	static const char *names[TIMED] = {"nanosleep", "clock_nanosleep", "poll", "epoll_wait", "futex", "sigtimedwait", "clock_nanosleep to a time", "read of a timerfd"};
	int kind = (int)(intptr_t)arg;
	for (long n = 0;; n++) {
		struct timespec t = {0, (7 + (n + kind) % 5 * 10) * MS};
		int64_t from = h_now();
		long r = timed(kind, t);
		if (r)
			undisturbed(names[kind], r);
		CHECK(h_now() - from >= t.tv_nsec - MS, "%s of %ld ms ended after %lld us", names[kind], t.tv_nsec / (long)MS, (long long)(h_now() - from) / 1000);
		beats[kind]++;
	}
	return NULL;
}

/* The endless waits: none of them may ever return. */
static void *wait_endless(void *arg)
{
	struct epoll_event event;
	char byte;
	uint64_t count;
	for (;;)
		switch ((int)(intptr_t)arg) {
		case 0:
			undisturbed("endless epoll_wait", syscall(SYS_epoll_wait, quiet_epoll, &event, 1, -1));
			break;
		case 1:
			undisturbed("endless read of a pipe", read(quiet_pipe[0], &byte, 1));
			break;
		case 2:
			undisturbed("endless read of an eventfd", read(quiet_event, &count, sizeof count));
			break;
		default:
			undisturbed("endless futex", syscall(SYS_futex, &quiet_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
		}
	return NULL;
}

/* compute keeps what it works on in registers and knows the result. */
static void *compute(void *arg)
{
	int place = TIMED + (int)(intptr_t)arg;
	uint8_t *memory = malloc(1 << 20);
	for (uint64_t n = 0;; n++) {
		uint64_t a = n, b = ~n, c = n * 3;
		double x = 1.0, y = (double)n;
		for (int i = 0; i < 20000; i++) {
			__asm__ volatile("add $7, %0; xor %1, %2; xor %1, %2" : "+r"(a), "+r"(b), "+r"(c));
			__asm__ volatile("addsd %1, %0; subsd %1, %0" : "+x"(x) : "x"(y));
		}
		CHECK(a == n + 7 * 20000 && b == ~n && c == n * 3, "a general register changed");
		CHECK(x == 1.0 && y == (double)n, "a vector register changed");
		fill(memory, 64 << 10, n);
		CHECK(verify(memory, 64 << 10, n) == -1, "memory changed");
		beats[place]++;
		h_sleep(MS);
	}
	return NULL;
}

static void on_tick(int s) { (void)s, __atomic_add_fetch(&ticks, 1, __ATOMIC_SEQ_CST); }

/* ticker is the only thread that takes the timers' signals. */
static void *ticker(void *arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	for (;;)
		pause();
	return arg;
}

/* restrict_calls forbids a call that nobody makes: everything else goes through it. */
static void restrict_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void start(void *(*run)(void *), int arg)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, (void *)(intptr_t)arg))
		DIE("pthread_create");
}

int main(void)
{
	sigset_t all;
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec often = {{0, 30 * MS}, {0, 30 * MS}};
	struct itimerval also = {{0, 50000}, {0, 50000}};
	struct epoll_event in = {.events = EPOLLIN};
	h_init();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGALRM, on_tick);
	signal(SIGRTMIN, on_tick);
	quiet_event = MUST(eventfd(0, 0));
	MUST(pipe(quiet_pipe));
	quiet_epoll = MUST(epoll_create1(0));
	MUST(epoll_ctl(quiet_epoll, EPOLL_CTL_ADD, quiet_event, &in));
	restrict_calls();
	for (int i = 0; i < TIMED; i++)
		start(wait_timed, i);
	for (int i = 0; i < 4; i++)
		start(wait_endless, i);
	for (int i = 0; i < COMPUTE; i++)
		start(compute, i);
	start(ticker, 0);
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &often, NULL));
	MUST(setitimer(ITIMER_REAL, &also, NULL));
	ready();
	while (wait_check()) {
		long had[THREADS], ticked = ticks;
		memcpy(had, (void *)beats, sizeof had);
		for (int i = 0; i < TIMED + COMPUTE; i++)
			CHECK(WAIT_FOR(beats[i] > had[i]), "thread %d stands still", i);
		CHECK(WAIT_FOR(ticks > ticked), "the timers do not tick");
	}
	return 0;
}

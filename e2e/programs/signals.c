/*
 * State: dispositions with flags, masks and restorers; blocked signals; queues of standard and real-time signals with
 * siginfo, private and shared, in several threads; an alternate stack while its handler runs on it.
 * Wrong could go: pending signals lost, moved between the private and the shared queue, reordered, their si_value,
 * si_pid, si_code replaced by the restorer's; SA_ flags dropped; SS_ONSTACK state mistaken.
 */
#include "harness.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/wait.h>

struct ksigaction { /* what the kernel has, without glibc's view */
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};
#define RT (SIGRTMIN + 3)
#define MANY 9000 /* more than a megabyte of siginfo */
static struct ksigaction before[65];
static int in_handler, leave, done;
static char altstack[65536] __attribute__((aligned(64)));
static pthread_barrier_t gate;
static pid_t tid;
static uint64_t thread_pending;

/* no handler but the last one is ever to run: a signal of no cause */
static volatile int stray;
static void info_handler(int sig, siginfo_t *info, void *ctx) { stray = sig, (void)info, (void)ctx; }
static void plain_handler(int sig) { stray = sig; }
static void stack_handler(int sig) /* stays on the alternate stack across checkpoints */
{
	volatile char here = (char)sig;
	stack_t st;
	__atomic_store_n(&in_handler, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&leave, __ATOMIC_SEQ_CST)) {
		CHECK((char *)&here > altstack && (char *)&here < altstack + sizeof altstack, "the handler's frame moved");
		CHECK(!sigaltstack(NULL, &st) && st.ss_sp == altstack && st.ss_size == sizeof altstack && st.ss_flags == SS_ONSTACK,
		      "altstack inside the handler: %p %zu %x", st.ss_sp, st.ss_size, st.ss_flags);
		h_sleep(10 * MS);
	}
}
static int act(int sig, struct ksigaction *a) { return (int)syscall(SYS_rt_sigaction, sig, NULL, a, 8); }
static uint64_t hex(const char *key)
{
	char s[64];
	return h_field("/proc/thread-self/status", key, s, sizeof s) ? strtoull(s, NULL, 16) : ~0ULL;
}
#define BIT(s) (1ULL << ((s)-1))

/* queue puts the pending set together again: to the process (shared) or to one thread (private) */
static void queue(int sig, long value, pid_t thread)
{
	siginfo_t i = {0};
	i.si_signo = sig, i.si_code = -60 - (int)(value & 7); /* any negative code may be sent to oneself */
	i.si_pid = 4711, i.si_uid = 42, i.si_errno = 5, i.si_value.sival_ptr = (void *)(h.nonce ^ (uint64_t)value);
	long r = thread ? syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, sig, &i) : syscall(SYS_rt_sigqueueinfo, getpid(), sig, &i);
	CHECK(r == 0, "queue signal %d: %s", sig, strerror(errno));
}
static void expect(const char *who, int sig, long value)
{
	sigset_t set;
	siginfo_t i;
	struct timespec zero = {0, 0};
	sigemptyset(&set);
	sigaddset(&set, sig);
	memset(&i, 0, sizeof i);
	int r = sigtimedwait(&set, &i, &zero);
	if (r != sig)
		return h_fail("%s: signal %d (value %ld) is not pending: %s", who, sig, value, strerror(errno));
	CHECK((uint64_t)i.si_value.sival_ptr == (h.nonce ^ (uint64_t)value), "%s: signal %d: value %lx, not of %ld", who, sig, (long)i.si_value.sival_ptr ^ (long)h.nonce, value);
	CHECK(i.si_code == -60 - (int)(value & 7) && i.si_pid == 4711 && i.si_uid == 42 && i.si_errno == 5,
	      "%s: signal %d: code %d pid %d uid %d errno %d", who, sig, i.si_code, i.si_pid, i.si_uid, i.si_errno);
}
static void build(void)
{
	queue(SIGUSR2, 1, 0);
	queue(SIGTERM, 2, 0);
	for (long v = 10; v < MANY; v++)
		queue(RT, v, 0); /* keeps its order */
	queue(RT + 1, 40, tid);
	queue(SIGUSR2, 41, tid); /* pending privately and shared at once */
	for (long v = 50; v < 55; v++)
		queue(RT + 1, v, tid);
	kill(getpid(), SIGWINCH); /* by kill(2): SI_USER and our pid */
}
static void *holder(void *arg) /* another thread with private pending signals and its own mask */
{
	(void)arg;
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, RT + 5);
	sigaddset(&m, SIGUSR2);
	sigaddset(&m, SIGTERM);
	sigaddset(&m, SIGWINCH);
	sigaddset(&m, RT);
	sigaddset(&m, RT + 1);
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	uint64_t mask = hex("SigBlk");
	pid_t self = (pid_t)syscall(SYS_gettid);
	for (long v = 70; !done; v += 2) {
		queue(RT + 5, v, self);
		queue(RT + 5, v + 1, self);
		thread_pending = BIT(RT + 5);
		pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate); /* the check happens between here and there */
		CHECK(hex("SigBlk") == mask, "mask of the second thread is %llx", (unsigned long long)hex("SigBlk"));
		CHECK(hex("SigPnd") == BIT(RT + 5), "private pending set of the second thread is %llx", (unsigned long long)hex("SigPnd"));
		expect("second thread", RT + 5, v);
		expect("second thread", RT + 5, v + 1);
	}
	return NULL;
}
static void *onstack(void *arg)
{
	(void)arg;
	stack_t st = {.ss_sp = altstack, .ss_size = sizeof altstack};
	sigset_t m;
	sigfillset(&m);
	sigdelset(&m, SIGURG);
	pthread_sigmask(SIG_SETMASK, &m, NULL); /* the shared signals are not for this thread */
	MUST(sigaltstack(&st, NULL));
	pthread_kill(pthread_self(), SIGURG);
	CHECK(!sigaltstack(NULL, &st) && st.ss_sp == altstack && st.ss_flags == 0, "altstack after the handler");
	return NULL;
}

int main(void)
{
	struct sigaction sa = {0};
	sigset_t all;
	pthread_t a, b;
	h_init();
	tid = getpid();
	for (int s = 1; s <= 64; s++) { /* every signal another disposition */
		if (s == SIGKILL || s == SIGSTOP || s == 32 || s == 33)
			continue;
		sigemptyset(&sa.sa_mask);
		sigaddset(&sa.sa_mask, s % 31 + 1);
		sa.sa_flags = (s & 1 ? SA_RESTART : 0) | (s & 2 ? SA_NODEFER : 0) | (s & 4 ? SA_ONSTACK : 0) | (s & 8 ? SA_SIGINFO : 0) |
			      (s == 40 ? (int)SA_RESETHAND : 0) | (s == SIGCHLD ? SA_NOCLDSTOP : 0);
		sa.sa_sigaction = info_handler;
		if (s % 5 == 0)
			sa.sa_handler = SIG_IGN;
		else if (!(s & 8))
			sa.sa_handler = plain_handler;
		if (s == SIGURG)
			sa.sa_handler = stack_handler, sa.sa_flags = SA_ONSTACK;
		if (s % 7)
			MUST(sigaction(s, &sa, NULL)); /* every seventh stays at its default */
	}
	pthread_barrier_init(&gate, NULL, 2);
	if (pthread_create(&b, NULL, onstack, NULL) || !WAIT_FOR(in_handler))
		DIE("thread on its alternate stack");
	sigemptyset(&all);
	for (int s = 1; s <= 64; s += s == 31 ? 5 : 1)
		if (s != SIGSEGV && s != SIGHUP)
			sigaddset(&all, s);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (pthread_create(&a, NULL, holder, NULL))
		DIE("pthread_create");
	build();
	pthread_barrier_wait(&gate);
	for (int s = 1; s <= 64; s++)
		MUST(act(s, &before[s]));
	uint64_t blk = hex("SigBlk"), pnd = hex("SigPnd"), shd = hex("ShdPnd"), ign = hex("SigIgn"), cgt = hex("SigCgt");
	ready();

	while (wait_check()) {
		struct ksigaction now;
		for (int s = 1; s <= 64; s++)
			CHECK(!act(s, &now) && !memcmp(&now, &before[s], sizeof now), "disposition of %d: handler %p flags %lx restorer %p mask %llx", s,
			      now.handler, now.flags, now.restorer, (unsigned long long)now.mask);
		CHECK(hex("SigBlk") == blk && hex("SigIgn") == ign && hex("SigCgt") == cgt, "sets in status: blocked %llx", (unsigned long long)hex("SigBlk"));
		CHECK(hex("SigPnd") == pnd, "private pending: %llx, not %llx", (unsigned long long)hex("SigPnd"), (unsigned long long)pnd);
		CHECK(hex("ShdPnd") == shd, "shared pending: %llx, not %llx", (unsigned long long)hex("ShdPnd"), (unsigned long long)shd);
		expect("private", SIGUSR2, 41); /* the private one comes first */
		expect("shared", SIGUSR2, 1);
		expect("shared", SIGTERM, 2);
		for (long v = 10; v < MANY; v++)
			expect("shared", RT, v);
		expect("private", RT + 1, 40);
		for (long v = 50; v < 55; v++)
			expect("private", RT + 1, v);
		siginfo_t i;
		sigset_t w;
		struct timespec zero = {0, 0};
		sigemptyset(&w);
		sigaddset(&w, SIGWINCH);
		CHECK(sigtimedwait(&w, &i, &zero) == SIGWINCH && i.si_code == SI_USER && i.si_pid == getpid() && i.si_uid == getuid(), "the signal of kill(2)");
		sigpending(&w);
		CHECK(!sigismember(&w, RT) && !sigismember(&w, SIGUSR2), "signals are doubled");
		CHECK(!stray, "signal %d was delivered that nobody had sent", stray);
		pthread_barrier_wait(&gate);
		pthread_barrier_wait(&gate);
		build();
	}
	leave = 1;
	return 0;
}

/*
 * State: seccomp filters that the program installed itself: on one thread, two on another, one for all threads
 * (TSYNC), inherited by a child, on top of those of the runtime; actions ERRNO, TRAP, KILL and on an argument's value.
 * (Strict mode, which no filter may precede: strict.c.)
 * Wrong could go: a filter lost or on the wrong thread (the forbidden call then succeeds), doubled, in the wrong order
 * (the first of two errnos wins otherwise), the runtime's installed twice, the saver killed by a filter or leaving it off.
 */
#include "harness.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { NT = 3 };
static int round_no, answered[NT];
static volatile int trapped, trap_nr, trap_errno;
static int runtime, expect_filters[NT] = {1, 2, 0}; /* beyond the common ones */

/* deny makes the call nr, when its first argument is arg (or any: -1), end in action */
static long deny(int nr, long arg, unsigned action, unsigned flags)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | (arg < 0 ? BPF_JGE : BPF_JEQ) | BPF_K, arg < 0 ? 0 : (unsigned)arg, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof f / sizeof *f, f};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}
static int gives(long nr, long arg) { return syscall(nr, arg, 0, 0, 0, 0, 0) < 0 ? errno : 0; }
static int number(const char *key)
{
	char s[32];
	return h_field("/proc/thread-self/status", key, s, sizeof s) ? atoi(s) : -1;
}
static void on_sys(int sig, siginfo_t *i, void *ctx)
{
	(void)sig, (void)ctx;
	trapped++, trap_nr = i->si_syscall, trap_errno = i->si_errno;
}
static void look(int i)
{
	CHECK(number("Seccomp") == 2, "thread %d: seccomp mode %d", i, number("Seccomp"));
	int n = number("Seccomp_filters");
	CHECK(n < 0 || n == runtime + expect_filters[i] + 3, "thread %d: %d filters, not %d", i, n, runtime + expect_filters[i] + 3);
	CHECK(gives(SYS_getppid, 0) == (i == 0 ? 77 : 0), "thread %d: getppid gives %d", i, gives(SYS_getppid, 0));
	CHECK(gives(SYS_getuid, 0) == (i == 1 ? 79 : 0), "thread %d: getuid gives %d, the errno of the other filter", i, gives(SYS_getuid, 0));
	CHECK(gives(SYS_personality, 0xffffffff) == 0 && gives(SYS_personality, 1234) == 80, "thread %d: the filter for all: %d", i, gives(SYS_personality, 1234));
	trapped = 0;
	gives(SYS_getpgid, 4242);
	CHECK(trapped == 1 && trap_nr == SYS_getpgid && trap_errno == 81, "thread %d: trapped %d times, nr %d errno %d", i, trapped, trap_nr, trap_errno);
	CHECK(gives(SYS_getpgid, 0) == 0 && trapped == 1, "thread %d: the trap catches another argument", i);
}
static void *holder(void *arg)
{
	int i = (int)(intptr_t)arg;
	if (i == 0)
		MUST(deny(SYS_getppid, -1, SECCOMP_RET_ERRNO | 77, 0));
	if (i == 1) { /* of two ERRNO the newer one wins */
		MUST(deny(SYS_getuid, -1, SECCOMP_RET_ERRNO | 78, 0));
		MUST(deny(SYS_getuid, -1, SECCOMP_RET_ERRNO | 79, 0));
	}
	for (answered[i] = 0;; h_sleep(5 * MS)) {
		if (answered[i] == __atomic_load_n(&round_no, __ATOMIC_SEQ_CST))
			continue;
		while (__atomic_load_n(&answered[(i + NT - 1) % NT], __ATOMIC_SEQ_CST) != round_no && i)
			h_sleep(MS); /* one at a time: the counters of the handler are common */
		look(i);
		__atomic_store_n(&answered[i], round_no, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	int st;
	struct sigaction sa = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
	h_init();
	sigaction(SIGSYS, &sa, NULL);
	runtime = number("Seccomp_filters") > 0 ? number("Seccomp_filters") : 0;
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* the three common filters first: a TSYNC needs threads whose filters descend from the caller's */
	MUST(deny(SYS_personality, 1234, SECCOMP_RET_ERRNO | 80, 0));
	pthread_t t[NT];
	pthread_create(&t[2], NULL, holder, (void *)2);
	MUST(deny(SYS_getpgid, 4242, SECCOMP_RET_TRAP | 81, SECCOMP_FILTER_FLAG_TSYNC));
	MUST(deny(SYS_sethostname, -1, SECCOMP_RET_KILL_PROCESS, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW));
	pthread_create(&t[0], NULL, holder, (void *)0);
	pthread_create(&t[1], NULL, holder, (void *)1);
	pid_t heir = MUST(fork());
	if (!heir) {
		h_part("heir");
		expect_filters[2] = 0;
		while (wait_check())
			look(2);
		_exit(0);
	}
	ready();

	while (wait_check()) {
		__atomic_add_fetch(&round_no, 1, __ATOMIC_SEQ_CST);
		for (int i = 0; i < NT; i++)
			CHECK(WAIT_FOR(__atomic_load_n(&answered[i], __ATOMIC_SEQ_CST) == round_no), "thread %d does not answer", i);
		look(2); /* the main thread has the common ones, no more */
		h_collect("heir");
		pid_t victim = fork();
		if (!victim) {
			syscall(SYS_sethostname, "x", 1);
			_exit(0);
		}
		CHECK(waitpid(victim, &st, 0) == victim && WIFSIGNALED(st) && WTERMSIG(st) == SIGSYS, "the forbidden call did not kill: %x", st);
		CHECK(gives(SYS_seccomp, 999) == EINVAL, "seccomp(2)");
	}
	return 0;
}

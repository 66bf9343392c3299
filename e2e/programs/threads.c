/*
 * State: threads with thread-local data, names, own signal masks and alternate stacks, robust and plain mutexes held
 * and waited for, condition variables and a barrier in use, a thread that ended, a detached one, own nice values.
 * Wrong could go: FS base, tid address (a join then hangs), robust list (EOWNERDEAD never comes), a waiter woken
 * without cause, masks mixed up between threads, thread ids that changed.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define N 8
static __thread uint64_t tls[512]; /* more than a page of thread-local data */
static __thread int tls_index = -1;
static struct thread {
	pthread_t t;
	int index, rounds;
	pid_t tid;
	char stack[8192] __attribute__((aligned(64)));
} threads[N];
static pthread_mutex_t contended, robust, recursive, pi;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t go_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static int niceness, round_no, finished, waited, destroyed, die_now, spin_count;

static void look(struct thread *me)
{
	char want[16], name[16];
	sigset_t m;
	stack_t st;
	CHECK((pid_t)syscall(SYS_gettid) == me->tid, "thread %d: id is %ld, not %d", me->index, syscall(SYS_gettid), me->tid);
	CHECK(pthread_equal(pthread_self(), me->t), "thread %d: pthread_self()", me->index);
	CHECK(tls_index == me->index && verify(tls, sizeof tls, 100 + (uint64_t)me->index) < 0, "thread %d: thread-local data", me->index);
	CHECK(pthread_getspecific(key) == (void *)(h.nonce + (uint64_t)me->index), "thread %d: pthread_getspecific", me->index);
	snprintf(want, sizeof want, "thread %d \xc3\xa9", me->index);
	CHECK(!prctl(PR_GET_NAME, name) && !strcmp(name, want), "thread %d: name is %s", me->index, name);
	pthread_sigmask(SIG_SETMASK, NULL, &m);
	for (int s = 1; s < 32; s++)
		CHECK(s == SIGKILL || s == SIGSTOP || sigismember(&m, s) == (s % N == me->index), "thread %d: mask of signal %d", me->index, s);
	CHECK(!sigaltstack(NULL, &st) && st.ss_sp == me->stack && st.ss_size == sizeof me->stack - 64 * (size_t)me->index, "thread %d: altstack %p", me->index, st.ss_sp);
	CHECK(getpriority(PRIO_PROCESS, 0) == niceness + me->index, "thread %d: nice %d", me->index, getpriority(PRIO_PROCESS, 0));
	CHECK(prctl(PR_GET_TIMERSLACK) == 60000 + me->index, "thread %d: timer slack %d", me->index, prctl(PR_GET_TIMERSLACK));
	me->rounds++;
}
static void on_exit_of_thread(void *v)
{
	CHECK(v == (void *)(h.nonce + 1000), "destructor value");
	__atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void *worker(void *arg)
{
	struct thread *me = arg;
	char name[16];
	sigset_t m;
	tls_index = me->index;
	fill(tls, sizeof tls, 100 + (uint64_t)me->index);
	pthread_setspecific(key, (void *)(h.nonce + (uint64_t)me->index));
	snprintf(name, sizeof name, "thread %d \xc3\xa9", me->index);
	MUST(prctl(PR_SET_NAME, name));
	sigemptyset(&m);
	for (int s = 1; s < 32; s++)
		if (s % N == me->index)
			sigaddset(&m, s);
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	stack_t st = {.ss_sp = me->stack, .ss_size = sizeof me->stack - 64 * (size_t)me->index};
	MUST(sigaltstack(&st, NULL));
	MUST(setpriority(PRIO_PROCESS, 0, niceness + me->index));
	MUST(prctl(PR_SET_TIMERSLACK, 60000 + me->index));
	me->tid = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&barrier);
	for (int seen = 0;;) { /* sleeps on the condition between checks */
		pthread_mutex_lock(&go_lock);
		while (round_no == seen)
			pthread_cond_wait(&go, &go_lock);
		seen = round_no;
		pthread_mutex_unlock(&go_lock);
		look(me);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}
static void *waiter(void *arg) /* asleep in pthread_mutex_lock of what main holds */
{
	(void)arg;
	for (;;) {
		pthread_mutex_lock(&contended);
		__atomic_add_fetch(&waited, 1, __ATOMIC_SEQ_CST);
		pthread_mutex_unlock(&contended);
		while (__atomic_load_n(&waited, __ATOMIC_SEQ_CST) == round_no)
			h_sleep(MS);
	}
	return NULL;
}
static void *owner(void *arg) /* dies with the robust and the priority-inheritance mutex held, when told */
{
	(void)arg;
	pthread_setspecific(key, (void *)(h.nonce + 1000));
	pthread_mutex_lock(&robust);
	pthread_mutex_lock(&pi);
	pthread_mutex_unlock(&pi);
	while (!__atomic_load_n(&die_now, __ATOMIC_SEQ_CST))
		h_sleep(5 * MS);
	return (void *)h.nonce;
}
static void *spinner(void *arg) /* detached, computing, never in the kernel */
{
	(void)arg;
	pthread_detach(pthread_self());
	for (;;)
		if (__atomic_add_fetch(&spin_count, 1, __ATOMIC_SEQ_CST) % 1024 == 0)
			h_sleep(MS);
	return NULL;
}
static void *nothing(void *arg) { return arg; }

int main(void)
{
	pthread_t w, o, e, s;
	pthread_mutexattr_t a;
	h_init();
	niceness = getpriority(PRIO_PROCESS, 0); /* what the test was started with */
	pthread_key_create(&key, on_exit_of_thread);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &a);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&pi, &a);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&recursive, &a);
	for (int i = 0; i < 3; i++)
		pthread_mutex_lock(&recursive);
	pthread_barrier_init(&barrier, NULL, N + 1);
	for (int i = 0; i < N; i++) {
		threads[i].index = i;
		if (pthread_create(&threads[i].t, NULL, worker, &threads[i]))
			DIE("pthread_create");
	}
	pthread_barrier_wait(&barrier);
	pthread_mutex_lock(&contended);
	if (pthread_create(&e, NULL, nothing, (void *)h.nonce) || pthread_create(&w, NULL, waiter, NULL) ||
	    pthread_create(&o, NULL, owner, NULL) || pthread_create(&s, NULL, spinner, NULL))
		DIE("pthread_create");
	h_sleep(100 * MS); /* e has ended and waits to be joined; o holds its mutex */
	pid_t tid = (pid_t)syscall(SYS_gettid);
	ready();

	while (wait_check()) {
		pthread_mutex_lock(&go_lock);
		round_no++;
		pthread_cond_broadcast(&go);
		pthread_mutex_unlock(&go_lock);
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < N; i++)
			CHECK(threads[i].rounds == round_no, "thread %d ran %d rounds, not %d", i, threads[i].rounds, round_no);
		CHECK((pid_t)syscall(SYS_gettid) == tid && tid == getpid(), "the main thread's id is %ld", syscall(SYS_gettid));

		CHECK(waited == round_no - 1, "the thread that waits for the mutex got it %d times", waited);
		pthread_mutex_unlock(&contended);
		CHECK(WAIT_FOR(__atomic_load_n(&waited, __ATOMIC_SEQ_CST) == round_no), "the mutex does not wake its waiter");
		pthread_mutex_lock(&contended);
		void *v;
		CHECK(pthread_mutex_trylock(&robust) == EBUSY, "the robust mutex is free");
		if (!finished++)
			CHECK(!pthread_join(e, &v) && v == (void *)h.nonce, "join of the thread that had ended");
		__atomic_store_n(&die_now, 1, __ATOMIC_SEQ_CST);
		CHECK(!pthread_join(o, &v) && v == (void *)h.nonce, "join of the mutexes' owner");
		CHECK(destroyed == round_no, "thread-specific destructors ran %d times", destroyed);
		CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD, "the robust mutex does not tell that its owner died");
		pthread_mutex_consistent(&robust);
		pthread_mutex_unlock(&robust);
		CHECK(!pthread_mutex_trylock(&pi) && !pthread_mutex_unlock(&pi), "the priority-inheritance mutex");
		CHECK(!pthread_mutex_lock(&recursive) && !pthread_mutex_unlock(&recursive), "recursive mutex: the owner's id changed");
		int n = __atomic_load_n(&spin_count, __ATOMIC_SEQ_CST);
		CHECK(WAIT_FOR(__atomic_load_n(&spin_count, __ATOMIC_SEQ_CST) != n), "the detached thread does not run");
		die_now = 0;
		if (pthread_create(&o, NULL, owner, NULL)) /* a new thread with the old machinery */
			h_fail("pthread_create: %s", strerror(errno));
		CHECK(WAIT_FOR(pthread_mutex_trylock(&robust) == EBUSY || pthread_mutex_unlock(&robust)), "new owner");
	}
	return 0;
}

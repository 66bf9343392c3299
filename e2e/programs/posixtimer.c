/*
 * State: POSIX timers with gaps between their ids, of several clocks, SIGEV_SIGNAL, SIGEV_THREAD_ID and SIGEV_NONE, on
 * relative and absolute times, with intervals, disarmed, and one with an unread expiration and its overruns.
 * Wrong could go: the id (the kernel gives the next free one), si_value, the target thread, overruns lost, relative
 * time that counts the time away, a timer that was never armed.
 */
#include "harness.h"
#include <pthread.h>

#define RT (SIGRTMIN + 4)
struct ksigevent { /* the kernel's layout: glibc has no name for the thread id */
	union { int i; void *p; } value;
	int signo, notify;
	int tid, pad[11];
};
struct timer {
	int clock, notify, abs;
	int64_t value, every;
	int id, thread;
	int64_t from, cpu;
};
static struct timer timers[] = {
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 1000 * SEC, 0, 0, 0, 0, 0},
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 50 * MS, 50 * MS, 0, 0, 0, 0},
	{CLOCK_REALTIME, SIGEV_NONE, 0, 500 * SEC, 3 * SEC, 0, 0, 0, 0},
	{CLOCK_REALTIME, SIGEV_SIGNAL, 1, 5000 * SEC, 0, 0, 0, 0, 0},
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 1, 6000 * SEC, 60 * SEC, 0, 0, 0, 0},
	{CLOCK_BOOTTIME, SIGEV_SIGNAL | SIGEV_THREAD_ID, 0, 700 * SEC, 1 * SEC, 0, 1, 0, 0},
	{CLOCK_MONOTONIC, SIGEV_SIGNAL | SIGEV_THREAD_ID, 0, 40 * MS, 40 * MS, 0, 1, 0, 0},
	{CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, 0, 800 * SEC, 0, 0, 0, 0, 0},
	{CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, 0, 900 * SEC, 2 * SEC, 0, 0, 0, 0},
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 0, 0, 0, 0, 0, 0}, /* never armed */
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 10 * MS, 10 * MS, 0, 0, 0, 0}, /* not read */
	{CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 5 * MS, 0, 0, 0, 0, 0},	   /* expired once, not read */
};
enum { N = sizeof timers / sizeof *timers, FAST = 1, TFAST = 6, UNARMED = 9, OVERRUN = 10, EXPIRED = 11 };
static pid_t thread_id;
static volatile int thread_ticks, wrong;
static int64_t thread_from;
static struct itimerspec spec(int64_t v, int64_t e) { return (struct itimerspec){{e / SEC, e % SEC}, {v / SEC, v % SEC}}; }
static void *value_of(int i) { return (void *)(h.nonce + (uint64_t)i); }

static int create(struct timer *t, int i)
{
	struct ksigevent e = {.notify = t->notify, .signo = i == OVERRUN ? RT + 1 : i == EXPIRED ? RT + 2 : i == TFAST ? RT + 3 : RT, .tid = t->thread ? thread_id : 0};
	e.value.p = value_of(i);
	MUST(syscall(SYS_timer_create, t->clock, &e, &t->id));
	return t->id;
}
static void arm(struct timer *t)
{
	struct itimerspec s = spec(t->value + (t->abs ? h_clock(t->clock) : 0), t->every);
	t->from = h_now(), t->cpu = h_clock(CLOCK_PROCESS_CPUTIME_ID);
	if (t->value)
		MUST(syscall(SYS_timer_settime, t->id, t->abs ? TIMER_ABSTIME : 0, &s, NULL));
}
/* take reads one queued expiration of a signal. Returns the number of its timer, or -1 */
static int take(int sig, int *overrun)
{
	sigset_t s;
	siginfo_t i;
	struct timespec zero = {0, 0};
	sigemptyset(&s), sigaddset(&s, sig);
	if (sigtimedwait(&s, &i, &zero) != sig)
		return -1;
	int n = (int)((uint64_t)i.si_value.sival_ptr - h.nonce);
	CHECK(i.si_code == SI_TIMER && n >= 0 && n < N && i.si_timerid == timers[n].id, "an expiration with code %d, value %llx, timer %d", i.si_code, (unsigned long long)(uintptr_t)i.si_value.sival_ptr, i.si_timerid);
	*overrun = i.si_overrun;
	return n;
}
static void *target(void *arg) /* gets the ticks that are for this thread alone */
{
	(void)arg;
	thread_id = (pid_t)syscall(SYS_gettid);
	sigset_t s;
	siginfo_t i;
	sigemptyset(&s), sigaddset(&s, RT + 3);
	for (;;)
		if (sigwaitinfo(&s, &i) == RT + 3) {
			if (i.si_value.sival_ptr != value_of(TFAST) || i.si_code != SI_TIMER)
				wrong++;
			else
				__atomic_add_fetch(&thread_ticks, 1 + i.si_overrun, __ATOMIC_SEQ_CST);
		} else if (errno != EINTR) {
			wrong++;
		}
	return NULL;
}

static int64_t last_restore(int64_t from)
{
	for (int i = 0; i < h.ngaps && i < H_GAPS; i++)
		if (h.gaps[i].restored && h.gaps[i].to > from)
			from = h.gaps[i].to;
	return from;
}

int main(void)
{
	sigset_t all;
	pthread_t t;
	h_init();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (pthread_create(&t, NULL, target, NULL) || !WAIT_FOR(*(volatile pid_t *)&thread_id))
		DIE("pthread_create");
	for (int i = 0; i < N; i++) {
		struct timer waste[3]; /* ids with gaps: these are deleted again */
		for (int n = 0; n < i % 4 && n < 3; n++)
			waste[n] = timers[UNARMED], create(&waste[n], 0);
		create(&timers[i], i);
		for (int n = 0; n < i % 4 && n < 3; n++)
			MUST(syscall(SYS_timer_delete, waste[n].id));
	}
	for (int i = 0; i < N; i++)
		arm(&timers[i]);
	thread_from = h_now();
	h_sleep(100 * MS);
	ready();

	int64_t from = timers[FAST].from;
	while (wait_check()) {
		int over = 0;
		long fast = 0;
		int64_t now = h_now();
		for (int n; (n = take(RT, &over)) >= 0; fast += 1 + over)
			CHECK(n == FAST, "timer %d has expired", n);
		for (int i = 0; i < N; i++) {
			struct timer *x = &timers[i];
			struct itimerspec s;
			now = h_now();
			int64_t away = h_away(x->from, now, 1), ran = now - x->from - away, slack = 1500 * MS + h_away(x->from, now, 0) - away;
			if (syscall(SYS_timer_gettime, x->id, &s)) {
				h_fail("timer %d (id %d): %s", i, x->id, strerror(errno));
				continue;
			}
			int64_t left = s.it_value.tv_sec * SEC + s.it_value.tv_nsec, every = s.it_interval.tv_sec * SEC + s.it_interval.tv_nsec;
			CHECK(every == x->every, "timer %d: interval %lld, not %lld ns", i, (long long)every, (long long)x->every);
			if (i == UNARMED || i == EXPIRED)
				CHECK(left == 0, "timer %d: runs", i);
			else if (x->clock == CLOCK_PROCESS_CPUTIME_ID || x->clock == CLOCK_THREAD_CPUTIME_ID)
				CHECK(left <= x->value + 20 * MS && left > x->value - 10 * SEC, "CPU timer %d: %lld ms left", i, (long long)(left / MS));
			else if (x->value < SEC)
				CHECK(left <= x->every + MS, "timer %d: %lld ms left", i, (long long)(left / MS));
			else if (x->abs) /* an absolute one may keep its date or what was left */
				CHECK(left <= x->value - ran + slack && left >= x->value - ran - away - slack, "timer %d: %lld ms left", i, (long long)(left / MS));
			else
				CHECK(llabs(left - (x->value - ran)) < slack, "timer %d: %lld ms left, not %lld", i, (long long)(left / MS), (long long)((x->value - ran) / MS));
		}
		/*
		 * Ticks and overruns together are the time that passed; a restore may lose or add one at its seams. The kernel
		 * shows the overruns of a pending expiration to no one before it is read: those may start again at a restore.
		 */
		now = h_now();
		int64_t seam = 2 + 2 * h.ngaps, since = last_restore(from);
		CHECK(fast <= (now - from) / (50 * MS) + seam && fast >= (now - since) / (50 * MS) - seam, "%ld ticks of 50 ms in %lld ms", fast, (long long)((now - from) / MS));
		long tt = thread_ticks, over_sum = 0;
		now = h_now();
		CHECK(tt <= (now - thread_from) / (40 * MS) + seam && tt >= (now - thread_from - h_away(thread_from, now, 1)) / (40 * MS) - seam,
		      "%ld ticks of 40 ms at the thread in %lld ms", tt, (long long)((now - thread_from) / MS));
		CHECK(!wrong, "%d wrong ticks at the thread", wrong);
		for (int n; (n = take(RT + 1, &over)) >= 0; over_sum += 1 + over)
			CHECK(n == OVERRUN, "timer %d has expired", n);
		now = h_now(), since = last_restore(from);
		CHECK(over_sum > 0, "the expiration that nobody has read is lost");
		CHECK(over_sum <= (now - from) / (10 * MS) + seam && over_sum >= (now - since) / (10 * MS) - 2 * seam, "%ld overruns of 10 ms in %lld ms", over_sum, (long long)((now - from) / MS));
		from = now;
		CHECK(take(RT + 2, &over) == EXPIRED && over == 0, "the single expiration that nobody has read is lost");
		CHECK(take(RT + 2, &over) == -1, "it is doubled");
		arm(&timers[EXPIRED]);
		h_sleep(20 * MS);
	}
	return 0;
}

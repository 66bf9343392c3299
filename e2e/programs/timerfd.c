/*
 * State: timerfds of three clocks, relative and absolute, one-shot and periodic, with unread ticks, expired, never
 * armed, TFD_TIMER_CANCEL_ON_SET, shared by fork, in an epoll instance, one that a thread is blocked on.
 * Wrong could go: unread ticks lost, the time left of a relative one, the interval, the flags of settime, a one-shot that
 * fires once more, O_NONBLOCK.
 */
#include "harness.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

struct tfd { int clock, flags; int64_t value, every; int fd; int64_t from; };
static struct tfd t[] = {
	{CLOCK_MONOTONIC, 0, 1000 * SEC, 0, 0, 0},
	{CLOCK_REALTIME, 0, 2000 * SEC, 5 * SEC + 1, 0, 0},
	{CLOCK_BOOTTIME, 0, 3000 * SEC, 0, 0, 0},
	{CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, 4000 * SEC, 7 * SEC, 0, 0},
	{CLOCK_REALTIME, TFD_TIMER_ABSTIME, 5000 * SEC, 0, 0, 0},
	{CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, 6000 * SEC, 0, 0, 0},
	{CLOCK_MONOTONIC, 0, 0, 0, 0, 0}, /* never armed */
};
enum { N = sizeof t / sizeof *t };
static int waiting, woke;
static volatile int64_t wait_to;

static void arm(int fd, int clock, int flags, int64_t v, int64_t e)
{
	if (flags & TFD_TIMER_ABSTIME)
		v += h_clock(clock);
	struct itimerspec s = {{e / SEC, e % SEC}, {v / SEC, v % SEC}};
	MUST(timerfd_settime(fd, flags, &s, NULL));
}
static int64_t ticks(int fd)
{
	uint64_t n = 0;
	return read(fd, &n, 8) == 8 ? (int64_t)n : errno == EAGAIN ? 0 : -errno;
}
static int64_t left(int fd, int64_t *every)
{
	struct itimerspec s = {0};
	CHECK(!timerfd_gettime(fd, &s), "timerfd_gettime: %s", strerror(errno));
	*every = s.it_interval.tv_sec * SEC + s.it_interval.tv_nsec;
	return s.it_value.tv_sec * SEC + s.it_value.tv_nsec;
}
static long info(int fd, const char *key)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	return h_field(path, key, text, sizeof text) ? strtol(text, NULL, 0) : -1;
}
static void *reader(void *arg) /* blocked for two seconds again and again */
{
	(void)arg;
	for (;;) {
		uint64_t n = 0;
		ssize_t r = read(waiting, &n, 8);
		CHECK(r == 8 && n == 1, "the blocked read gives %zd, %llu ticks: %s", r, (unsigned long long)n, strerror(errno));
		wait_to = h_now();
		__atomic_add_fetch(&woke, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&woke, __ATOMIC_SEQ_CST))
			h_sleep(MS);
	}
	return NULL;
}

int main(void)
{
	pthread_t th;
	h_init();
	for (int i = 0; i < N; i++) {
		t[i].fd = MUST(timerfd_create(t[i].clock, TFD_NONBLOCK | (i & 1 ? TFD_CLOEXEC : 0)));
		t[i].from = h_now();
		if (t[i].value)
			arm(t[i].fd, t[i].clock, t[i].flags, t[i].value, t[i].every);
	}
	int unread = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), expired = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), spent = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	int periodic = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), shared = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), ep = MUST(epoll_create1(0));
	waiting = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	struct epoll_event e = {EPOLLIN, {.fd = periodic}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, periodic, &e));
	arm(expired, CLOCK_MONOTONIC, 0, 1, 0), arm(spent, CLOCK_MONOTONIC, 0, 1, 0);
	int64_t unread_from = h_now();
	arm(unread, CLOCK_MONOTONIC, 0, MS, MS);
	h_sleep(30 * MS);
	MUST(ticks(spent) == 1 ? 0 : -1);
	arm(periodic, CLOCK_MONOTONIC, 0, 20 * MS, 20 * MS);
	int64_t from = h_now(), begun = from, sum = 0;
	arm(shared, CLOCK_MONOTONIC, 0, 1, 3600 * SEC);
	if (!MUST(fork())) {
		int64_t every;
		h_part("child");
		while (wait_check()) {
			CHECK(WAIT_FOR(left(shared, &every) > 7000 * SEC && every == 11), "what the parent sets in the shared timer does not show");
			arm(shared, CLOCK_MONOTONIC, 0, 9000 * SEC, 12);
		}
		_exit(0);
	}
	arm(waiting, CLOCK_MONOTONIC, 0, 2 * SEC, 0);
	if (pthread_create(&th, NULL, reader, NULL))
		DIE("pthread_create");
	ready();

	while (wait_check()) {
		int64_t every, l, now = h_now();
		for (int i = 0; i < N; i++) {
			l = left(t[i].fd, &every), now = h_now();
			int64_t away = h_away(t[i].from, now, 1), ran = now - t[i].from - away, slack = 1500 * MS + h_away(t[i].from, now, 0) - away;
			CHECK(every == t[i].every, "timer %d: interval %lld, not %lld ns", i, (long long)every, (long long)t[i].every);
			if (!t[i].value)
				CHECK(l == 0, "the timer that was never armed runs");
			else if (t[i].flags) /* keeps its date, or what was left */
				CHECK(l <= t[i].value - ran + slack && l >= t[i].value - ran - away - slack, "timer %d: %lld ms left", i, (long long)(l / MS));
			else
				CHECK(llabs(l - (t[i].value - ran)) < slack, "timer %d: %lld ms left, not %lld", i, (long long)(l / MS), (long long)((t[i].value - ran) / MS));
			CHECK(ticks(t[i].fd) == 0, "timer %d has ticked", i);
			CHECK(info(t[i].fd, "clockid") == t[i].clock && info(t[i].fd, "settime flags") == t[i].flags, "timer %d: clock %ld, flags %lo", i, info(t[i].fd, "clockid"), info(t[i].fd, "settime flags"));
			CHECK(h_flags(t[i].fd) == (O_RDWR | O_NONBLOCK) && fcntl(t[i].fd, F_GETFD) == (i & 1 ? FD_CLOEXEC : 0), "timer %d: flags", i);
		}
		int64_t away = h_away(unread_from, h_now(), 1), seam = 3 * (h.ngaps + 1);
		int64_t n = ticks(unread);
		CHECK(n <= (h_now() - unread_from) / MS + seam && n >= (now - unread_from - away) / MS - seam, "%lld unread ticks of 1 ms in %lld ms, %lld away", (long long)n, (long long)((now - unread_from) / MS), (long long)(away / MS));
		unread_from = h_now();
		CHECK(ticks(expired) == 1 && left(expired, &every) == 0, "the single unread tick is lost");
		CHECK(ticks(expired) == 0 && ticks(spent) == 0 && left(spent, &every) == 0, "a timer fires once more");
		arm(expired, CLOCK_MONOTONIC, 0, 1, 0);
		CHECK(epoll_wait(ep, &e, 1, 1000) == 1 && e.data.fd == periodic, "the epoll instance does not see the timer");
		sum += ticks(periodic), now = h_now();
		CHECK(sum <= (now - begun) / (20 * MS) + seam && sum >= (now - begun - h_away(begun, now, 1)) / (20 * MS) - seam, "%lld ticks of 20 ms in %lld ms", (long long)sum, (long long)((now - begun) / MS));
		CHECK(ticks(shared) == 1, "the unread tick of the shared timer is lost");
		arm(shared, CLOCK_MONOTONIC, 0, 8000 * SEC, 11);
		h_collect("child");
		CHECK(left(shared, &every) > 8900 * SEC && every == 12, "what the child sets in the shared timer does not show");
		arm(shared, CLOCK_MONOTONIC, 0, 1, 3600 * SEC);
		CHECK(WAIT_FOR(__atomic_load_n(&woke, __ATOMIC_SEQ_CST)), "the blocked reader does not wake");
		int64_t took = wait_to - from, gone = h_away(from, wait_to, 1), busy = h_away(from, wait_to, 0) - gone;
		/* What is away begins at the last look before, which on a busy machine is long ago. */
		CHECK(took - gone > 1700 * MS - gone / 3 && took - gone < 2300 * MS + 2 * busy, "the blocked read of 2 s took %lld ms, %lld of them away", (long long)(took / MS), (long long)(gone / MS));
		from = h_now();
		arm(waiting, CLOCK_MONOTONIC, 0, 2 * SEC, 0);
		__atomic_store_n(&woke, 0, __ATOMIC_SEQ_CST);
	}
	return 0;
}

/*
 * State: addresses of functions of the vdso that the program keeps for life, as every C library does, and threads that are
 * in these functions nearly all the time.
 * Wrong could go: a restore under another kernel, whose vdso has them elsewhere; data pages of another layout beside the old
 * code; a thread that stood in the first bytes of a function, or behind them.
 */
#include "elfsymbol.h"
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/time.h>

static int (*clock_fn)(clockid_t, struct timespec *);
static int (*day_fn)(struct timeval *, void *);
static time_t (*time_fn)(time_t *);
static int (*res_fn)(clockid_t, struct timespec *);
static int (*cpu_fn)(unsigned *, unsigned *, void *);
static volatile int64_t turns[2];
/* busy has them call all the while; without it the program is at rest, for who compares it with itself */
static volatile int busy;

static void *function(const char *name)
{
	unsigned long base = getauxval(AT_SYSINFO_EHDR);
	void *f = base ? symbol(base, name) : NULL;
	if (!f)
		SKIP("no %s in a vdso", name);
	return f;
}
static int64_t by_vdso(clockid_t id)
{
	struct timespec t = {0, 0};
	CHECK(!clock_fn(id, &t), "the vdso's clock_gettime(%d) failed", id);
	return t.tv_sec * SEC + t.tv_nsec;
}
/* whole asks for seconds, the shortest of the functions: its first bytes are most of it */
static void *whole(void *arg)
{
	time_t last = time_fn(NULL);
	while (h_sleep(busy ? 0 : MS), 1)
		for (int i = 0; i < 200000 && busy; i++, turns[0]++) {
			time_t now = time_fn(NULL);
			if (now < last || now > last + 3600)
				h_fail("the vdso's time went from %lld to %lld", (long long)last, (long long)now), busy = 0;
			last = now;
		}
	return arg;
}
/* fine asks for nanoseconds, and for those of the last tick */
static void *fine(void *arg)
{
	int64_t last = by_vdso(CLOCK_MONOTONIC), lastcoarse = 0;
	while (h_sleep(busy ? 0 : MS), 1)
		for (int i = 0; i < 100000 && busy; i++, turns[1]++) {
			int64_t coarse = by_vdso(CLOCK_MONOTONIC_COARSE), now = by_vdso(CLOCK_MONOTONIC);
			if (now < last || coarse < lastcoarse || coarse > now || now - last > 3600 * SEC)
				h_fail("the vdso's clock went from %lld to %lld, the coarse one from %lld to %lld", (long long)last, (long long)now, (long long)lastcoarse, (long long)coarse), busy = 0;
			last = now, lastcoarse = coarse;
		}
	return arg;
}

int main(void)
{
	pthread_t t;
	h_init();
	*(void **)&clock_fn = function("__vdso_clock_gettime"), *(void **)&day_fn = function("__vdso_gettimeofday");
	*(void **)&time_fn = function("__vdso_time"), *(void **)&res_fn = function("__vdso_clock_getres"), *(void **)&cpu_fn = function("__vdso_getcpu");
	busy = getenv("CLOCKS_BUSY") != NULL;
	MUST(-pthread_create(&t, NULL, whole, NULL));
	MUST(-pthread_create(&t, NULL, fine, NULL));
	ready();
	while (wait_check()) {
		for (int *c = (int[]){CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, -1}; *c >= 0; c++) {
			struct timespec r1 = {0, 0}, r2 = {0, 0};
			int64_t a = h_clock(*c), b = by_vdso(*c), d = h_clock(*c);
			CHECK(a <= b && b <= d, "the vdso's clock %d says %lld, between %lld and %lld", *c, (long long)b, (long long)a, (long long)d);
			CHECK(!res_fn(*c, &r1) && !syscall(SYS_clock_getres, *c, &r2) && r1.tv_sec == r2.tv_sec && r1.tv_nsec == r2.tv_nsec, "resolution of clock %d", *c);
		}
		struct timeval v = {0, 0};
		int64_t a = h_clock(CLOCK_REALTIME), b = day_fn(&v, NULL) ?: v.tv_sec * SEC + v.tv_usec * 1000, d = h_clock(CLOCK_REALTIME);
		CHECK(a / 1000 <= b / 1000 && b <= d, "the vdso's gettimeofday says %lld, between %lld and %lld", (long long)b, (long long)a, (long long)d);
		a = h_clock(CLOCK_REALTIME_COARSE) / SEC, b = time_fn(NULL), d = h_clock(CLOCK_REALTIME_COARSE) / SEC;
		CHECK(a <= b && b <= d, "the vdso's time says %lld, between %lld and %lld", (long long)b, (long long)a, (long long)d);
		unsigned cpu = 9999, node;
		CHECK(!cpu_fn(&cpu, &node, NULL) && cpu < 4096, "the vdso's getcpu: %u", cpu);
		for (int i = 0; i < 2 && busy; i++) {
			int64_t n = turns[i];
			CHECK(WAIT_FOR(turns[i] > n), "thread %d stands still", i);
		}
	}
	return 0;
}

/*
 * State: interval timers (real, virtual, profiling): one-shot and repeating ones, in several processes, since each
 * process has just three; an alarm that another thread waits for.
 * Wrong could go: the interval or what was left (the time away must not count), a lost or doubled tick, a timer that
 * runs again after it expired.
 */
#include "harness.h"
#include <sys/prctl.h>
#include <sys/time.h>

static volatile int ticks[3];
static volatile int64_t last;
static void on_tick(int s)
{
	int i = s == SIGALRM ? 0 : s == SIGVTALRM ? 1 : 2;
	ticks[i]++;
	if (!i)
		last = h_now();
}
static void set(int which, int64_t value, int64_t interval)
{
	struct itimerval v = {{interval / SEC, interval % SEC / 1000}, {value / SEC, value % SEC / 1000}};
	MUST(setitimer((__itimer_which_t)which, &v, NULL));
}
static int64_t left(int which, int64_t *interval)
{
	struct itimerval v;
	getitimer((__itimer_which_t)which, &v);
	*interval = v.it_interval.tv_sec * SEC + v.it_interval.tv_usec * 1000;
	return v.it_value.tv_sec * SEC + v.it_value.tv_usec * 1000;
}
/* burn uses up processor time, in user space */
static void burn(int64_t ns)
{
	for (int64_t end = h_clock(CLOCK_PROCESS_CPUTIME_ID) + ns; h_clock(CLOCK_PROCESS_CPUTIME_ID) < end;)
		for (volatile int i = 0; i < 20000; i++)
			;
}

/* longs has all three timers far in the future */
static void longs(void)
{
	static const int64_t value[3] = {1000 * SEC, 2000 * SEC, 3000 * SEC}, every[3] = {7 * SEC + 1000, 0, 11 * SEC};
	int64_t i, from = h_now();
	for (int n = 0; n < 3; n++)
		set(n, value[n], every[n]);
	while (wait_check()) {
		int64_t ran = h_now() - from - h_away(from, h_now(), 1), r = left(0, &i);
		CHECK(i == every[0] && llabs(value[0] - ran - r) < 300 * MS + h_away(from, h_now(), 0) / 4, "of 1000 s %lld ms are left, after %lld ms of running", (long long)(r / MS), (long long)(ran / MS));
		for (int n = 1; n < 3; n++) {
			r = left(n, &i);
			CHECK(i == every[n] && r <= value[n] + 20 * MS && r > value[n] - 10 * SEC, "timer %d: %lld ms left, interval %lld", n, (long long)(r / MS), (long long)(i / MS));
		}
		CHECK(!ticks[0] && !ticks[1] && !ticks[2], "a timer of 1000 s has expired");
	}
}
/* quick has a repeating timer of 50 ms and counts its ticks against the time it ran */
static void quick(void)
{
	int64_t i, from = h_now();
	set(0, 50 * MS, 50 * MS);
	h.eintr_ok = 1;
	while (wait_check()) {
		int64_t ran = h_now() - from, away = h_away(from, h_now(), 0);
		CHECK(ticks[0] <= ran / (50 * MS) + 2, "%d ticks of 50 ms in %lld ms", ticks[0], (long long)(ran / MS));
		CHECK(ticks[0] >= (ran - away) / (50 * MS) * 8 / 10 - 2 * h.ngaps - 2, "only %d ticks of 50 ms in %lld ms", ticks[0], (long long)((ran - away) / MS));
		int64_t r = left(0, &i);
		CHECK(i == 50 * MS && r <= 51 * MS, "interval %lld ms, %lld left", (long long)(i / MS), (long long)(r / MS));
		int n = ticks[0];
		CHECK(WAIT_FOR(ticks[0] > n), "no more ticks come");
	}
}
/* single has timers that expired long ago, one that never ran, and CPU timers that tick under load */
static void single(void)
{
	int64_t i;
	set(0, 20 * MS, 0);
	h.eintr_ok = 1;
	WAIT_FOR(ticks[0]);
	while (wait_check()) {
		CHECK(ticks[0] == 1 && left(0, &i) == 0 && i == 0, "the timer that had expired: %d ticks, %lld ms left", ticks[0], (long long)(left(0, &i) / MS));
		ticks[1] = ticks[2] = 0;
		set(1, 30 * MS, 30 * MS);
		set(2, 40 * MS, 0);
		burn(150 * MS);
		CHECK(ticks[1] >= 2 && ticks[2] == 1, "CPU timers ticked %d, %d times in 150 ms", ticks[1], ticks[2]);
		set(1, 0, 0), set(2, 0, 0);
	}
}
/* once waits for one alarm of two seconds that a checkpoint falls into, and measures it */
static void once(void)
{
	int64_t from = h_now(), i;
	int gaps = 0;
	h.eintr_ok = 1;
	set(0, 2 * SEC, 0);
	while (wait_check()) {
		if (h.ngaps != gaps || ticks[0]) {
			while (!ticks[0] && left(0, &i) > 0 && h_now() - from < 600 * SEC)
				h_sleep(5 * MS);
			int64_t took = last - from, away = h_away(from, last, 1), busy = h_away(from, last, 0) - away;
			CHECK(ticks[0] == 1 && took - away >= 1700 * MS - away / 3 && took - away <= 5000 * MS + 2 * busy, "%d alarms; after %lld ms of which %lld away", ticks[0], (long long)(took / MS), (long long)(away / MS));
			ticks[0] = 0, gaps = h.ngaps;
			from = h_now();
			set(0, 2 * SEC, 0);
		}
	}
}

int main(void)
{
	static void (*const run[])(void) = {longs, quick, single, once};
	static const char *const names[] = {"longs", "quick", "single", "once"};
	signal(SIGALRM, on_tick), signal(SIGVTALRM, on_tick), signal(SIGPROF, on_tick);
	h_init();
	for (int i = 0; i < 4; i++)
		if (!MUST(fork())) {
			h_part(names[i]);
			run[i]();
			_exit(0);
		}
	set(0, 3600 * SEC, 0); /* a fork inherits none */
	h_sleep(100 * MS);
	ready();
	while (wait_check()) {
		int64_t i;
		CHECK(left(0, &i) > 3000 * SEC && left(0, &i) <= 3600 * SEC && i == 0, "the main task's timer");
		for (int n = 0; n < 4; n++)
			h_collect(names[n]);
	}
	return 0;
}

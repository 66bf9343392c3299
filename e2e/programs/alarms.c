/*
 * State: timers of one shot, each armed anew by whoever takes its signal: an interval timer, a POSIX timer, one for
 * a thread, a timerfd. They expire every few milliseconds, also while the tasks stand still.
 * Wrong could go: the signal of one that expires as it is read, or before the restore is done, is lost, and nobody ever
 * arms it again; or it comes twice, the second time too early.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#define SHOT (3 * MS)
enum { INTERVAL, POSIX, THREAD, FD, CHAINS };
static const char *const names[] = {"interval timer", "POSIX timer", "timer of a thread", "timerfd"};
static volatile int64_t armed[CHAINS], early[CHAINS];
static volatile int count[CHAINS];
static timer_t posix, own;
static int fd;

static void arm(int which)
{
	struct itimerspec shot = {.it_value = {0, SHOT}};
	struct itimerval old = {.it_value = {0, SHOT / 1000}};
	armed[which] = h_now();
	switch (which) {
	case INTERVAL: MUST(setitimer(ITIMER_REAL, &old, NULL)); break;
	case POSIX: MUST(timer_settime(posix, 0, &shot, NULL)); break;
	case THREAD: MUST(timer_settime(own, 0, &shot, NULL)); break;
	case FD: MUST(timerfd_settime(fd, 0, &shot, NULL)); break;
	}
}
static void shot(int which)
{
	int64_t after = h_now() - armed[which];
	if (after < SHOT - MS / 10 && !early[which])
		early[which] = after + 1;
	count[which]++;
	arm(which);
}
static void on_signal(int sig) { shot(sig == SIGALRM ? INTERVAL : sig == SIGRTMIN ? POSIX : THREAD); }

__attribute__((noreturn)) static void *thread(void *arg)
{
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
	e._sigev_un._tid = (int)syscall(SYS_gettid);
	MUST(timer_create(CLOCK_MONOTONIC, &e, &own));
	arm(THREAD);
	*(volatile int *)arg = 1;
	for (;;)
		h_sleep(SEC);
}
__attribute__((noreturn)) static void *reader(void *arg)
{
	uint64_t n;
	(void)arg;
	arm(FD);
	for (;;)
		if (read(fd, &n, sizeof n) == sizeof n) {
			CHECK(n == 1, "the timerfd has ticked %llu times", (unsigned long long)n);
			shot(FD);
		}
}

int main(void)
{
	pthread_t t[2];
	volatile int up = 0;
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	h_init();
	h.eintr_ok = 1;
	sigfillset(&sa.sa_mask);
	MUST(sigaction(SIGALRM, &sa, NULL)), MUST(sigaction(SIGRTMIN, &sa, NULL)), MUST(sigaction(SIGRTMIN + 1, &sa, NULL));
	fd = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	MUST(timer_create(CLOCK_MONOTONIC, &e, &posix));
	pthread_create(&t[0], NULL, thread, (void *)&up), pthread_create(&t[1], NULL, reader, NULL);
	if (!WAIT_FOR(up))
		DIE("no thread");
	arm(INTERVAL), arm(POSIX);
	ready();
	while (wait_check())
		for (int i = 0; i < CHAINS; i++) {
			int before = count[i];
			CHECK(WAIT_FOR(count[i] > before + 1), "the %s stands still after %d shots", names[i], before);
			CHECK(!early[i], "the %s came %lld us after it was armed for %lld", names[i], (long long)early[i] / 1000, SHOT / 1000);
			early[i] = 0;
		}
	return 0;
}

/*
 * State: 21 threads, each asleep most of the time in a timed system call, one after the other, again and again.
 * Wrong could go: EINTR, a call that ends early, one that starts its time over or counts the time away (relative
 * timeouts must keep what was left, counted in time while running, within 100 ms), a deadline that moved.
 * The kernel itself has no restart block for the calls marked LOOSE and gives EINTR to a debugger's stop: a saver must
 * issue them again. What was left of their timeout shows nowhere, so that they may take up to their whole time again.
 */
#include "harness.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>

enum { KEEPS, DEADLINE, LOOSE };
struct call {
	const char *name;
	int64_t (*run)(struct call *, int64_t ns); /* 0, or an errno */
	int timeout;				   /* errno that tells of the time-out */
	int kind;
	int ms;
	uint32_t rounds;
	int64_t begun;
};
struct odd { /* a call that took longer than its time, to be judged once the gaps are known */
	struct call *c;
	int64_t from, to, want;
};
static struct odd odds[1024];
static uint32_t nodds;
static int quiet_pipe[2], quiet_sock[2], ep, sem;

static struct timespec ts(int64_t ns) { return (struct timespec){ns / SEC, ns % SEC}; }
#define RESULT(expr) (((expr) < 0) ? (int64_t)errno : 0)
#define CALL(name) static int64_t name(struct call *c, int64_t ns)

CALL(c_nanosleep) { (void)c; struct timespec t = ts(ns); return RESULT(syscall(SYS_nanosleep, &t, NULL)); }
CALL(c_nanosleep_rem)
{
	(void)c;
	struct timespec t = ts(ns), rem = {77, 77};
	int64_t r = RESULT(syscall(SYS_nanosleep, &t, &rem));
	/* One that had begun in the moment between the look at its sleep and the stop cannot be known. */
	int just = rem.tv_sec * SEC + rem.tv_nsec >= ns - 300 * MS;
	CHECK((rem.tv_sec == 77 && rem.tv_nsec == 77) || just, "nanosleep wrote a remaining time");
	return r;
}
CALL(c_clock_rel) { (void)c; struct timespec t = ts(ns); return RESULT(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &t, NULL)); }
CALL(c_clock_abs) { struct timespec t = ts(c->begun + ns); return RESULT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)); }
CALL(c_clock_real) { (void)c; struct timespec t = ts(h_clock(CLOCK_REALTIME) + ns); return RESULT(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL)); }
CALL(c_poll)
{
	(void)c;
	struct pollfd p = {quiet_pipe[0], POLLIN, 0};
	return syscall(SYS_poll, &p, 1L, ns / MS) ? errno : 0;
}
CALL(c_ppoll)
{
	(void)c;
	struct pollfd p[2] = {{quiet_pipe[0], POLLIN, 0}, {quiet_sock[0], POLLIN, 0}};
	struct timespec t = ts(ns);
	uint64_t mask = 1ULL << (SIGUSR1 - 1);
	return syscall(SYS_ppoll, p, 2L, &t, &mask, 8L) ? errno : 0;
}
CALL(c_select)
{
	(void)c;
	fd_set f;
	struct timeval t = {ns / SEC, ns % SEC / 1000};
	FD_ZERO(&f);
	FD_SET(quiet_pipe[0], &f);
	return syscall(SYS_select, quiet_pipe[0] + 1, &f, NULL, NULL, &t) ? errno : 0;
}
CALL(c_pselect) { (void)c; struct timespec t = ts(ns); return syscall(SYS_pselect6, 0, NULL, NULL, NULL, &t, NULL) ? errno : 0; }
CALL(c_futex)
{
	struct timespec t = ts(ns);
	return RESULT(syscall(SYS_futex, &c->rounds, FUTEX_WAIT_PRIVATE, c->rounds, &t, NULL, 0));
}
CALL(c_futex_shared)
{
	struct timespec t = ts(ns);
	return RESULT(syscall(SYS_futex, &c->rounds, FUTEX_WAIT, c->rounds, &t, NULL, 0));
}
CALL(c_futex_abs)
{
	struct timespec t = ts(c->begun + ns);
	return RESULT(syscall(SYS_futex, &c->rounds, FUTEX_WAIT_BITSET_PRIVATE, c->rounds, &t, NULL, FUTEX_BITSET_MATCH_ANY));
}
CALL(c_epoll) { (void)c; struct epoll_event e; return syscall(SYS_epoll_wait, ep, &e, 1L, ns / MS) ? errno : 0; }
CALL(c_epoll_p) { (void)c; struct epoll_event e; uint64_t m = 1ULL << (SIGUSR1 - 1); return syscall(SYS_epoll_pwait, ep, &e, 1L, ns / MS, &m, 8L) ? errno : 0; }
CALL(c_sigwait)
{
	(void)c;
	uint64_t set = 1ULL << (SIGUSR2 - 1);
	struct timespec t = ts(ns);
	return RESULT(syscall(SYS_rt_sigtimedwait, &set, NULL, &t, 8L));
}
CALL(c_semop)
{
	(void)c;
	struct sembuf op = {0, -1, 0};
	struct timespec t = ts(ns);
	return RESULT(syscall(SYS_semtimedop, sem, &op, 1L, &t));
}
CALL(c_recv)
{
	(void)c;
	char b;
	struct timeval t = {ns / SEC, ns % SEC / 1000};
	setsockopt(quiet_sock[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	return RESULT(recv(quiet_sock[1], &b, 1, 0));
}

static struct call calls[] = {
	{"nanosleep 300 ms", c_nanosleep, 0, KEEPS, 300, 0, 0},
	{"nanosleep 5 s", c_nanosleep, 0, KEEPS, 5000, 0, 0},
	{"nanosleep 1 h", c_nanosleep, 0, KEEPS, 3600000, 0, 0},
	{"nanosleep with rem", c_nanosleep_rem, 0, KEEPS, 1700, 0, 0},
	{"clock_nanosleep BOOTTIME", c_clock_rel, 0, KEEPS, 1100, 0, 0},
	{"clock_nanosleep abs", c_clock_abs, 0, DEADLINE, 1300, 0, 0},
	{"clock_nanosleep abs REALTIME", c_clock_real, 0, DEADLINE, 900, 0, 0},
	{"poll 1.2 s", c_poll, 0, KEEPS, 1200, 0, 0},
	{"poll 20 s", c_poll, 0, KEEPS, 20000, 0, 0},
	{"ppoll", c_ppoll, 0, KEEPS, 1400, 0, 0},
	{"select", c_select, 0, KEEPS, 1500, 0, 0},
	{"pselect6", c_pselect, 0, KEEPS, 1600, 0, 0},
	{"futex rel", c_futex, ETIMEDOUT, KEEPS, 1250, 0, 0},
	{"futex rel shared", c_futex_shared, ETIMEDOUT, KEEPS, 1050, 0, 0},
	{"futex 1 h", c_futex, ETIMEDOUT, KEEPS, 3600000, 0, 0},
	{"futex abs", c_futex_abs, ETIMEDOUT, DEADLINE, 1350, 0, 0},
	{"epoll_wait", c_epoll, 0, LOOSE, 1150, 0, 0},
	{"epoll_pwait", c_epoll_p, 0, LOOSE, 950, 0, 0},
	{"rt_sigtimedwait", c_sigwait, EAGAIN, LOOSE, 1450, 0, 0},
	{"semtimedop", c_semop, EAGAIN, LOOSE, 1550, 0, 0},
	{"recv with SO_RCVTIMEO", c_recv, EAGAIN, LOOSE, 1650, 0, 0},
};
enum { N = sizeof calls / sizeof *calls };

static void *sleeper(void *arg)
{
	struct call *c = arg;
	sigset_t m;
	sigfillset(&m);
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	for (;; c->rounds++) {
		int64_t from = c->begun = h_now(), want = c->ms * MS, err = (errno = 0, c->run(c, want)), to = h_now();
		CHECK(err == c->timeout, "%s: %s (after %lld of %d ms)", c->name, strerror((int)err), (long long)((to - from) / MS), c->ms);
		CHECK(to - from >= want - 2 * MS, "%s: ended early, after %lld of %d ms", c->name, (long long)((to - from) / MS), c->ms);
		if (to - from > want + 100 * MS)
			odds[__atomic_fetch_add(&nodds, 1, __ATOMIC_SEQ_CST) % 1024] = (struct odd){c, from, to, want};
		if (err != c->timeout)
			h_sleep(100 * MS);
	}
	return NULL;
}
static void judge(struct odd *o)
{
	int64_t took = o->to - o->from, away = h_away(o->from, o->to, 1), busy = h_away(o->from, o->to, 0) - away;
	int64_t ran = took - away, most = o->want + 600 * MS + 2 * busy, least = o->want - 300 * MS;
	if (o->c->kind == LOOSE && away + busy)
		most += o->want; /* issued again */
	if (o->c->kind == DEADLINE)
		least = 0, most = (o->want > away ? o->want : 0) + 600 * MS + 2 * busy; /* running time after the deadline */
	if (o->c->kind == DEADLINE && took - away - busy <= o->want + 250 * MS)
		return;
	CHECK(ran >= least, "%s: of %lld ms only %lld ran, %lld were away: the time left was lost", o->c->name, (long long)(o->want / MS), (long long)(ran / MS), (long long)(away / MS));
	CHECK(ran <= most, "%s: %lld ms took %lld (%lld away, %lld busy): late", o->c->name, (long long)(o->want / MS), (long long)(took / MS), (long long)(away / MS), (long long)(busy / MS));
}

int main(void)
{
	MUST(pipe(quiet_pipe));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, quiet_sock));
	ep = MUST(epoll_create1(0));
	struct epoll_event e = {EPOLLIN, {0}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, quiet_pipe[0], &e));
	sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	for (int i = 0; i < N; i++) {
		pthread_t t;
		pthread_attr_t a;
		pthread_attr_init(&a);
		pthread_attr_setstacksize(&a, 65536);
		if (pthread_create(&t, &a, sleeper, &calls[i]))
			DIE("pthread_create");
	}
	h_sleep(200 * MS);
	ready();

	int gaps = 0;
	for (uint32_t done = 0; wait_check();) {
		uint32_t was[N];
		for (int i = 0; i < N; i++)
			was[i] = calls[i].rounds;
		for (int i = 0; i < N && h.ngaps != gaps; i++) /* what slept through the gap has to end before it is judged */
			CHECK(calls[i].ms > 2000 || WAIT_FOR(__atomic_load_n(&calls[i].rounds, __ATOMIC_SEQ_CST) != was[i]), "%s: never ends", calls[i].name);
		gaps = h.ngaps;
		h_sleep(100 * MS); /* let the late ones be late */
		h_tick();
		for (uint32_t end = __atomic_load_n(&nodds, __ATOMIC_SEQ_CST); done != end; done++)
			judge(&odds[done % 1024]);
		for (int i = 0; i < N; i++) {
			int64_t since = h_now() - calls[i].begun, away = h_away(calls[i].begun, h_now(), 0), most = calls[i].ms * MS * 2 + 2 * away + SEC;
			CHECK(since < most, "%s: asleep for %lld ms", calls[i].name, (long long)(since / MS));
			CHECK(calls[i].ms < 3600000 || calls[i].rounds == 0, "%s has ended", calls[i].name);
		}
	}
	semctl(sem, 0, IPC_RMID);
	return 0;
}

/*
 * State: owners and signals of descriptors: F_SETOWN to a process and a group, F_SETOWN_EX to a thread, F_SETSIG with a
 * real-time signal, O_ASYNC, on pipes, unix and UDP sockets and a terminal.
 * Wrong could go: the owner by a pid that means another task, the kind (thread, process, group), the signal, the uid
 * that the kernel recorded, O_ASYNC set without the owner, a signal sent by the restore itself.
 */
#include "harness.h"
#include <netinet/in.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define RT 40 /* a real-time signal that glibc leaves alone */
static struct entry { const char *name; int fd, peer, type, sig; pid_t who; } es[] = {
	{"pipe to process", 0, 0, F_OWNER_PID, 0, 0},	       {"socket to process with signal", 0, 0, F_OWNER_PID, RT, 0},
	{"socket to thread with signal", 0, 0, F_OWNER_TID, RT, 0}, {"pipe to group", 0, 0, F_OWNER_PGRP, 0, 0},
	{"udp to child", 0, 0, F_OWNER_PID, RT, 0},		       {"tty to thread", 0, 0, F_OWNER_TID, RT, 0},
	{"pipe without O_ASYNC", 0, 0, F_OWNER_PID, RT, 0},      {"pipe without owner", 0, 0, F_OWNER_PID, RT + 1, 0},
};
enum { N = sizeof es / sizeof *es, CHILD = 4, QUIET = 6, NOBODY = 7 };
static pid_t thread_id;
static volatile int got[2][N], stray; /* by process and by thread, as the descriptor says */

static int entry_of(int fd)
{
	for (int i = 0; i < N; i++)
		if (es[i].fd == fd)
			return i;
	return -1;
}
static void on_rt(int s, siginfo_t *i, void *ctx)
{
	(void)s, (void)ctx;
	int e = entry_of(i->si_fd), thread = (pid_t)syscall(SYS_gettid) == thread_id;
	if (i->si_code < 0 || e < 0)
		stray++;
	else
		got[thread][e]++;
}
static volatile int ios;
static void on_io(int s) { (void)s, ios++; }
static void *sleeper(void *arg) /* takes signals for itself only */
{
	(void)arg;
	thread_id = (pid_t)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

int main(void)
{
	pthread_t t;
	sigset_t m;
	h_init();
	setpgid(0, 0);
	h.eintr_ok = 1;
	struct sigaction sa = {.sa_sigaction = on_rt, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(RT, &sa, NULL), sigaction(RT + 1, &sa, NULL);
	sa = (struct sigaction){.sa_handler = on_io, .sa_flags = SA_RESTART};
	sigaction(SIGIO, &sa, NULL);
	for (int i = 0; i < N; i++) {
		int p[2] = {-1, -1}, n;
		char name[32];
		if (i == 1 || i == 2) {
			MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
		} else if (i == CHILD) {
			struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
			socklen_t l = sizeof a;
			for (int k = 0; k < 2; k++)
				p[k] = MUST(socket(AF_INET, SOCK_DGRAM, 0));
			MUST(bind(p[0], (void *)&a, l)), MUST(getsockname(p[0], (void *)&a, &l)), MUST(connect(p[1], (void *)&a, l));
		} else if (i == 5) {
			p[1] = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY)), MUST(ioctl(p[1], TIOCGPTN, &n)), MUST(ioctl(p[1], TIOCSPTLCK, &(int){0}));
			snprintf(name, sizeof name, "/dev/pts/%d", n), p[0] = MUST(open(name, O_RDWR | O_NOCTTY));
		} else {
			MUST(pipe(p));
		}
		es[i].fd = p[0], es[i].peer = p[1];
	}
	pid_t child = MUST(fork());
	if (!child) {
		h_part("child");
		h.eintr_ok = 1;
		while (wait_check()) {
			CHECK(WAIT_FOR(got[0][CHILD] >= h.check && ios >= h.check), "the child got %d signals of its own and %d of the group, %d were sent", got[0][CHILD], ios, h.check);
			struct f_owner_ex o;
			CHECK(!fcntl(es[0].fd, F_GETOWN_EX, &o) && o.pid == getppid() && stray == 0, "the owner as the child sees it: %d; %d stray signals", o.pid, stray);
		}
		_exit(0);
	}
	if (pthread_create(&t, NULL, sleeper, NULL) || !WAIT_FOR(*(volatile pid_t *)&thread_id))
		DIE("pthread_create");
	sigemptyset(&m); /* main takes process-directed ones; the thread is told by its own */
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	for (int i = 0; i < N; i++) {
		struct entry *e = &es[i];
		e->who = i == NOBODY ? 0 : i == CHILD ? child : e->type == F_OWNER_TID ? thread_id : e->type == F_OWNER_PGRP ? getpgrp() : getpid();
		struct f_owner_ex o = {e->type, e->who};
		if (i == QUIET) /* set by another effective user */
			MUST(syscall(SYS_setresuid, -1, 1000, -1));
		if (e->who)
			MUST(fcntl(e->fd, F_SETOWN_EX, &o));
		if (i == QUIET)
			MUST(syscall(SYS_setresuid, -1, 0, -1));
		MUST(fcntl(e->fd, F_SETSIG, e->sig));
		if (i != QUIET)
			MUST(fcntl(e->fd, F_SETFL, O_ASYNC | fcntl(e->fd, F_GETFL)));
	}
	ready();

	while (wait_check()) {
		CHECK(stray == 0 && ios == 0, "%d stray signals, %d of no cause", stray, ios);
		for (int i = 0; i < N; i++) {
			struct entry *e = &es[i];
			struct f_owner_ex o = {-1, -1};
			CHECK(got[0][i] == 0 && got[1][i] == 0, "%s: a signal of no cause", e->name);
			CHECK(!fcntl(e->fd, F_GETOWN_EX, &o) && o.pid == e->who && ((int)o.type == e->type || !e->who), "%s: owner %d of kind %d, not %d of %d", e->name, o.pid, (int)o.type, e->who, e->type);
			CHECK(fcntl(e->fd, F_GETSIG) == e->sig, "%s: signal %d, not %d", e->name, fcntl(e->fd, F_GETSIG), e->sig);
			CHECK(!!(h_flags(e->fd) & O_ASYNC) == (i != QUIET), "%s: O_ASYNC: %o", e->name, h_flags(e->fd));
			uid_t uids[2] = {99, 99};
			if (e->who && fcntl(e->fd, 17 /* F_GETOWNER_UIDS */, uids) == 0)
				CHECK(uids[0] == 0 && uids[1] == (i == QUIET ? 1000 : 0), "%s: owner's uids %u %u", e->name, uids[0], uids[1]);
		}
		for (int i = 0; i < N; i++) {
			struct entry *e = &es[i];
			char c;
			int thread = e->type == F_OWNER_TID, none = i == QUIET || i == NOBODY || i == CHILD, was = ios;
			CHECK(write(e->peer, "\n", 1) == 1, "%s: write: %s", e->name, strerror(errno));
			if (none)
				h_sleep(10 * MS);
			else if (!e->sig)
				CHECK(WAIT_FOR(ios > was), "%s: no SIGIO", e->name);
			else
				CHECK(WAIT_FOR(got[thread][i] >= 1), "%s: no signal for the %s", e->name, thread ? "thread" : "process");
			CHECK(!none || (!got[0][i] && !got[1][i] && ios == was), "%s: a signal for nobody", e->name);
			CHECK(!got[!thread][i], "%s: the signal went to the other thread", e->name);
			CHECK(read(e->fd, &c, 1) == 1, "%s: read: %s", e->name, strerror(errno));
		}
		h_collect("child");
		h_sleep(20 * MS);
		memset((void *)got, 0, sizeof got);
		ios = 0;
	}
	return 0;
}

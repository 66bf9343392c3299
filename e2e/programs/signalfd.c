/*
 * State: signalfds with different masks, pending signals that can be read from them, flags, a blocked reader, one that
 * is shared by fork (each process then reads its own signals), one in an epoll instance.
 * Wrong could go: the mask, pending signals taken by the saver, siginfo as the fd shows it, O_NONBLOCK, the waiter.
 */
#include "harness.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#define RT (SIGRTMIN + 2)
static int waiting, woke, bad;

static int fd_for(const int *sigs, int flags)
{
	sigset_t m;
	sigemptyset(&m);
	for (; *sigs; sigs++)
		sigaddset(&m, *sigs);
	return MUST(signalfd(-1, &m, flags));
}
static void *reader(void *arg)
{
	struct signalfd_siginfo i;
	(void)arg;
	for (;;) {
		ssize_t n = read(waiting, &i, sizeof i);
		if (n != sizeof i || i.ssi_signo != SIGUSR1)
			bad++, h_fail("the blocked read gives %zd: %s", n, strerror(errno));
		__atomic_add_fetch(&woke, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}
static void queue(int sig, uint64_t v) { sigqueue(getpid(), sig, (union sigval){.sival_ptr = (void *)(h.nonce ^ v)}); }
static void expect(int fd, int sig, uint64_t v)
{
	struct signalfd_siginfo i = {0};
	ssize_t n = read(fd, &i, sizeof i);
	CHECK(n == sizeof i && (int)i.ssi_signo == sig && i.ssi_code == SI_QUEUE && i.ssi_ptr == (h.nonce ^ v) && i.ssi_pid == (uint32_t)getpid(),
	      "signal %d, value %llx: read gives %zd, signal %d, code %d, pid %d", sig, (unsigned long long)v, n, (int)i.ssi_signo, i.ssi_code, (int)i.ssi_pid);
}
static int empty(int fd)
{
	struct signalfd_siginfo i;
	return read(fd, &i, sizeof i) < 0 && errno == EAGAIN;
}
static uint64_t mask_of(int fd)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	return h_field(path, "sigmask", text, sizeof text) ? strtoull(text, NULL, 16) : 0;
}

int main(void)
{
	sigset_t all;
	pthread_t t;
	h_init();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	int term = fd_for((int[]){SIGTERM, SIGHUP, SIGCHLD, 0}, SFD_NONBLOCK | SFD_CLOEXEC), rt = fd_for((int[]){RT, RT + 1, 0}, SFD_NONBLOCK);
	int none = fd_for((int[]){0}, SFD_NONBLOCK), shared = fd_for((int[]){SIGUSR2, 0}, SFD_NONBLOCK);
	waiting = fd_for((int[]){SIGUSR1, 0}, 0);
	int ep = MUST(epoll_create1(0)), copy = MUST(dup(rt));
	struct epoll_event e = {EPOLLIN, {.fd = rt}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, rt, &e));
	uint64_t masks[] = {mask_of(term), mask_of(rt), mask_of(none), mask_of(shared), mask_of(waiting)};
	int fds[] = {term, rt, none, shared, waiting};
	if (!MUST(fork())) {
		h_part("child");
		queue(SIGUSR2, 8);
		while (wait_check()) {
			expect(shared, SIGUSR2, 8);
			CHECK(empty(shared), "more signals than were sent");
			queue(SIGUSR2, 8);
		}
		_exit(0);
	}
	if (pthread_create(&t, NULL, reader, NULL))
		DIE("pthread_create");
	queue(SIGTERM, 1), queue(SIGHUP, 2), queue(RT + 1, 3), queue(RT, 4), queue(RT, 5), queue(SIGUSR2, 9);
	ready();

	for (int round = 1; wait_check(); round++) {
		for (int i = 0; i < 5; i++)
			CHECK(mask_of(fds[i]) == masks[i], "mask %d is %llx", i, (unsigned long long)mask_of(fds[i]));
		CHECK(h_flags(term) == (O_RDWR | O_NONBLOCK) && h_flags(waiting) == O_RDWR && fcntl(term, F_GETFD) == FD_CLOEXEC, "flags");
		CHECK(epoll_wait(ep, &e, 1, 0) == 1 && e.data.fd == rt, "the epoll instance does not see the signals");
		expect(term, SIGHUP, 2), expect(term, SIGTERM, 1), expect(rt, RT, 4), expect(copy, RT, 5), expect(rt, RT + 1, 3), expect(shared, SIGUSR2, 9);
		CHECK(empty(term) && empty(rt) && empty(none) && empty(shared), "more signals than were sent");
		h_collect("child");
		CHECK(epoll_wait(ep, &e, 1, 0) == 0, "the epoll instance still sees signals");
		CHECK(woke == round - 1, "the blocked reader woke %d times", woke);
		queue(SIGUSR1, 7);
		CHECK(WAIT_FOR(__atomic_load_n(&woke, __ATOMIC_SEQ_CST) == round) && !bad, "the blocked reader does not wake");
		queue(SIGTERM, 1), queue(SIGHUP, 2), queue(RT + 1, 3), queue(RT, 4), queue(RT, 5), queue(SIGUSR2, 9);
	}
	return 0;
}

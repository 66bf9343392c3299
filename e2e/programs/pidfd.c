/*
 * State: pidfds: of a child, of oneself (shared with the child), of a zombie, of a process that is gone, of a thread,
 * non-blocking, and one in an epoll instance that reports when its process ends.
 * Wrong could go: the process that it is of, one that is gone taken for a living one, PIDFD_NONBLOCK, PIDFD_THREAD.
 */
#include "harness.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>

static int open_pidfd(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static int send_signal(int fd) { return (int)syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0); }
static int ended(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}
static long info(int fd)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	return h_field(path, "Pid", text, sizeof text) ? strtol(text, NULL, 10) : -9;
}
static volatile pid_t thread_id;
static void *thread(void *arg)
{
	(void)arg;
	thread_id = (pid_t)syscall(SYS_gettid);
	for (;;)
		h_sleep(SEC);
	return NULL;
}
static pid_t spawn(void)
{
	pid_t pid = MUST(fork());
	if (!pid)
		for (;;)
			h_sleep(SEC);
	return pid;
}

int main(void)
{
	pthread_t t;
	siginfo_t i;
	h_init();
	int self = open_pidfd(getpid(), 0);
	if (self < 0)
		SKIP("pidfd_open");
	pid_t child = MUST(fork());
	if (!child) {
		h_part("child");
		while (wait_check())
			CHECK(info(self) == getppid() && !send_signal(self) && !ended(self), "the parent's pidfd is of %ld", info(self));
		_exit(0);
	}
	int of_child = MUST(open_pidfd(child, O_NONBLOCK)), again = MUST(open_pidfd(child, 0)), copy = MUST(dup(again));
	fcntl(again, F_SETFD, 0);
	pid_t zombie = spawn(), dead = spawn(), victim = spawn();
	int of_zombie = MUST(open_pidfd(zombie, 0)), of_dead = MUST(open_pidfd(dead, 0)), of_victim = MUST(open_pidfd(victim, 0));
	kill(zombie, SIGKILL), kill(dead, SIGKILL);
	MUST(waitid(P_PID, (id_t)zombie, &i, WEXITED | WNOWAIT)), MUST(waitid(P_PID, (id_t)dead, &i, WEXITED));
	if (pthread_create(&t, NULL, thread, NULL) || !WAIT_FOR(thread_id))
		DIE("pthread_create");
	int of_thread = open_pidfd(thread_id, O_EXCL); /* since Linux 6.9 */
	int ep = MUST(epoll_create1(0));
	struct epoll_event e = {EPOLLIN, {.u64 = h.nonce}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, of_victim, &e));
	ready();

	while (wait_check()) {
		CHECK(info(self) == getpid() && info(of_child) == child && info(again) == child && info(copy) == child, "pidfds of %ld %ld %ld %ld", info(self), info(of_child), info(again), info(copy));
		CHECK(h_flags(of_child) == (O_RDWR | O_NONBLOCK) && h_flags(again) == O_RDWR, "flags %o %o", h_flags(of_child), h_flags(again));
		CHECK(fcntl(of_child, F_GETFD) == FD_CLOEXEC && fcntl(again, F_GETFD) == 0, "close-on-exec");
		CHECK(!send_signal(of_child) && !ended(of_child), "the child has ended: %s", strerror(errno));
		CHECK(waitid(P_PIDFD, (id_t)of_child, &i, WEXITED) < 0 && errno == EAGAIN, "PIDFD_NONBLOCK: %s", strerror(errno));
		i.si_pid = 0;
		CHECK(info(of_zombie) == zombie && ended(of_zombie) && !waitid(P_PIDFD, (id_t)of_zombie, &i, WEXITED | WNOWAIT) && i.si_pid == zombie && i.si_status == SIGKILL,
		      "the zombie's pidfd is of %ld, pid %d, status %d", info(of_zombie), i.si_pid, i.si_status);
		CHECK(info(of_dead) == -1 && ended(of_dead) && send_signal(of_dead) < 0 && errno == ESRCH, "the dead one's pidfd is of %ld: %s", info(of_dead), strerror(errno));
		CHECK(of_thread < 0 || (info(of_thread) == thread_id && !ended(of_thread) && (h_flags(of_thread) & O_EXCL)), "the thread's pidfd is of %ld", info(of_thread));
		CHECK(epoll_wait(ep, &e, 1, 0) == 0, "the victim's end is reported before it");
		kill(victim, SIGKILL);
		CHECK(epoll_wait(ep, &e, 1, 5000) == 1 && e.data.u64 == h.nonce, "the victim's end is not reported");
		CHECK(!waitid(P_PIDFD, (id_t)of_victim, &i, WEXITED) && i.si_pid == victim, "wait for the victim: %s", strerror(errno));
		close(of_victim), victim = spawn(), of_victim = open_pidfd(victim, 0);
		e.events = EPOLLIN, e.data.u64 = h.nonce;
		CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, of_victim, &e), "epoll_ctl: %s", strerror(errno));
		h_collect("child");
	}
	return 0;
}

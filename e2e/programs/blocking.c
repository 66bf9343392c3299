/*
 * State: 18 threads, each blocked without a timeout in another system call: pipe and socket reads, a write to a full
 * pipe, accept, recvmsg, futex, futex_waitv, epoll_wait, poll, select, sigwaitinfo, sigsuspend, pause, semop, msgrcv,
 * msgsnd to a full queue, wait4, waitid, a FIFO's open.
 * Wrong could go: EINTR, a spurious return, a thread that nothing wakes any more (it waits on the old object), the
 * mask of sigsuspend or ppoll left in force.
 */
#include "harness.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

struct msg { long type; char text[1000]; };
static int rpipe[2], wpipe[2], spair[2], ppipe[2], selpipe[2], epipe[2], listener, ep, sem, queue, fullq, hits[2];
static uint32_t word, vec[2];
static struct sockaddr_un addr = {.sun_family = AF_UNIX};
static socklen_t addrlen;
static char fifo[64], big[65536];
static volatile pid_t kid[2];
static int gate;

struct call {
	const char *name;
	long (*run)(void);  /* 0, or what was wrong */
	void (*wake)(struct call *);
	int rounds;
	pthread_t thread;
};
static void on_sig(int s) { __atomic_add_fetch(&hits[s == SIGUSR1], 1, __ATOMIC_SEQ_CST); }
static long got1(long n) { return n == 1 ? 0 : n < 0 ? errno : -1; }
static long ok(long n) { return n >= 0 ? 0 : errno; }
static uint64_t mask(void)
{
	uint64_t m = 0;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &m, 8L);
	return m;
}
static void child(int i)
{
	pid_t me = getpid();
	if (!(kid[i] = fork()))
		for (;; h_sleep(20 * MS))
			if (getppid() != me)
				_exit(9);
}

static long r_pipe(void) { char b; return got1(read(rpipe[0], &b, 1)); }
static void w_pipe(struct call *c) { (void)c; CHECK(write(rpipe[1], "x", 1) == 1, "write"); }
static long r_write(void) { return write(wpipe[1], big, sizeof big) == sizeof big ? 0 : errno; }
static void w_write(struct call *c) { (void)c; size_t n = 0; while (n < sizeof big) n += (size_t)read(wpipe[0], big, sizeof big - n); }
static long r_sock(void) { char b; struct iovec v = {&b, 1}; struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1}; return got1(recvmsg(spair[0], &m, 0)); }
static void w_sock(struct call *c) { (void)c; CHECK(send(spair[1], "x", 1, 0) == 1, "send"); }
static long r_accept(void) { int fd = accept(listener, NULL, NULL); close(fd); return fd < 0 ? errno : 0; }
static void w_accept(struct call *c) { (void)c; int s = socket(AF_UNIX, SOCK_STREAM, 0); CHECK(!connect(s, (void *)&addr, addrlen), "connect: %s", strerror(errno)); close(s); }
static long r_futex(void) { long r = syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); return r ? errno : 0; }
static void w_futex(struct call *c) { (void)c; CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 1, "the futex has no waiter"); }
static long r_waitv(void)
{
	struct futex_waitv v[2] = {{0, (uintptr_t)&vec[0], FUTEX_32 | FUTEX_PRIVATE_FLAG, 0}, {0, (uintptr_t)&vec[1], FUTEX_32 | FUTEX_PRIVATE_FLAG, 0}};
	long r = syscall(SYS_futex_waitv, v, 2, 0, NULL, 0);
	return r == 1 ? 0 : r < 0 ? errno : -1;
}
static void w_waitv(struct call *c) { (void)c; CHECK(syscall(SYS_futex, &vec[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1, "futex_waitv does not wait"); }
static long r_epoll(void) { struct epoll_event e; char b; int n = epoll_wait(ep, &e, 1, -1); return got1(n) || got1(read(epipe[0], &b, 1)); }
static void w_epoll(struct call *c) { (void)c; CHECK(write(epipe[1], "x", 1) == 1, "write"); }
static long r_ppoll(void)
{
	struct pollfd p = {ppipe[0], POLLIN, 0};
	uint64_t before = mask(), inner = before | 1ULL << (SIGWINCH - 1);
	char b;
	long n = syscall(SYS_ppoll, &p, 1L, NULL, &inner, 8L), r = got1(n);
	return r ? r : mask() != before ? -2 : got1(read(ppipe[0], &b, 1));
}
static void w_ppoll(struct call *c) { (void)c; CHECK(write(ppipe[1], "x", 1) == 1, "write"); }
static long r_select(void) { fd_set f; char b; FD_ZERO(&f); FD_SET(selpipe[0], &f); int n = select(selpipe[0] + 1, &f, NULL, NULL, NULL); return got1(n) || got1(read(selpipe[0], &b, 1)); }
static void w_select(struct call *c) { (void)c; CHECK(write(selpipe[1], "x", 1) == 1, "write"); }
static long r_sigwait(void) { uint64_t s = 1ULL << (SIGUSR2 - 1); return syscall(SYS_rt_sigtimedwait, &s, NULL, NULL, 8L) == SIGUSR2 ? 0 : errno; }
static void w_sigwait(struct call *c) { pthread_kill(c->thread, SIGUSR2); }
static long r_suspend(void) /* EINTR is what it returns, but only when a handler ran */
{
	uint64_t before = mask(), inner = ~(1ULL << (SIGUSR1 - 1));
	int n = hits[1];
	long r = syscall(SYS_rt_sigsuspend, &inner, 8L);
	return r == -1 && errno == EINTR && hits[1] == n + 1 && mask() == before ? 0 : -3;
}
static void w_suspend(struct call *c) { pthread_kill(c->thread, SIGUSR1); }
static long r_pause(void)
{
	int n = hits[0];
	uint64_t s = 1ULL << (SIGURG - 1);
	syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &s, NULL, 8L);
	long r = syscall(SYS_pause);
	return r == -1 && errno == EINTR && hits[0] == n + 1 ? 0 : -4;
}
static void w_pause(struct call *c) { pthread_kill(c->thread, SIGURG); }
static long r_sem(void) { struct sembuf op = {0, -1, 0}; return ok(semop(sem, &op, 1)); }
static void w_sem(struct call *c) { (void)c; struct sembuf op = {0, 1, 0}; CHECK(semctl(sem, 0, GETNCNT) == 1, "nobody waits at the semaphore"); CHECK(!semop(sem, &op, 1), "semop"); }
static long r_msg(void) { struct msg m; return got1(msgrcv(queue, &m, sizeof m.text, 7, 0)); }
static void w_msg(struct call *c) { (void)c; struct msg m = {7, "x"}; CHECK(!msgsnd(queue, &m, 1, IPC_NOWAIT), "msgsnd"); }
static long r_full(void) { struct msg m = {3, ""}; return ok(msgsnd(fullq, &m, sizeof m.text, 0)); }
static void w_full(struct call *c) { (void)c; struct msg m; CHECK(msgrcv(fullq, &m, sizeof m.text, 0, IPC_NOWAIT) == sizeof m.text, "msgrcv"); }
static long r_wait4(void) { int st; child(0); return waitpid(kid[0], &st, 0) == kid[0] && WIFSIGNALED(st) ? 0 : errno; }
static void w_wait4(struct call *c) { (void)c; kill(kid[0], SIGKILL); }
static long r_waitid(void) { siginfo_t i; child(1); return !waitid(P_PID, (id_t)kid[1], &i, WEXITED) && i.si_status == SIGKILL ? 0 : errno; }
static void w_waitid(struct call *c) { (void)c; kill(kid[1], SIGKILL); }
static long r_open(void) { int fd = open(fifo, O_RDONLY | O_CLOEXEC); close(fd); return fd < 0 ? errno : 0; }
static void w_open(struct call *c)
{
	int fd = -1;
	CHECK(WAIT_FOR((fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0), "nobody opens the FIFO: %s", strerror(errno));
	int was = gate;
	WAIT_FOR(__atomic_load_n(&c->rounds, __ATOMIC_SEQ_CST) == was + 1);
	close(fd);
}

#define C(n) {#n, r_##n, w_##n, 0, 0}
static struct call calls[] = {C(pipe), C(write), C(sock), C(accept), C(futex), C(waitv), C(epoll), C(ppoll), C(select), C(sigwait), C(suspend), C(pause), C(sem), C(msg), C(full), C(wait4), C(waitid), C(open)};
enum { N = sizeof calls / sizeof *calls };

static void *sleeper(void *arg)
{
	struct call *c = arg;
	for (;;) {
		int n = c->rounds;
		long r = c->run();
		CHECK(r == 0, "%s: %s", c->name, r > 0 ? strerror((int)r) : r == -2 || r == -3 ? "ended wrongly, or the mask is another" : "ended wrongly");
		__atomic_store_n(&c->rounds, n + 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&gate, __ATOMIC_SEQ_CST) <= n) /* the others are woken first */
			h_sleep(MS);
	}
	return NULL;
}

int main(void)
{
	h_init();
	MUST(pipe(rpipe)), MUST(pipe(wpipe)), MUST(pipe(ppipe)), MUST(pipe(selpipe)), MUST(pipe(epipe));
	MUST(write(wpipe[1], big, sizeof big));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, spair));
	listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	addrlen = (socklen_t)(sizeof addr.sun_family + 1 + (size_t)snprintf(addr.sun_path + 1, 100, "blocking-%d", getpid()));
	MUST(bind(listener, (void *)&addr, addrlen));
	MUST(listen(listener, 5));
	ep = MUST(epoll_create1(0));
	struct epoll_event e = {EPOLLIN, {0}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, epipe[0], &e));
	sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	queue = MUST(msgget(IPC_PRIVATE, 0600)), fullq = MUST(msgget(IPC_PRIVATE, 0600));
	for (struct msg m = {3, ""}; !msgsnd(fullq, &m, sizeof m.text, IPC_NOWAIT);)
		;
	snprintf(fifo, sizeof fifo, "/tmp/blocking.%d", getpid());
	MUST(mkfifo(fifo, 0600));
	struct sigaction sa = {.sa_handler = on_sig};
	sigaction(SIGUSR1, &sa, NULL), sigaction(SIGURG, &sa, NULL);
	sigset_t m;
	sigfillset(&m);
	pthread_sigmask(SIG_SETMASK, &m, NULL);
	for (int i = 0; i < N; i++)
		if (pthread_create(&calls[i].thread, NULL, sleeper, &calls[i]))
			DIE("pthread_create");
	h_sleep(200 * MS);
	ready();

	for (int round = 1; wait_check(); round++) {
		for (int i = 0; i < N; i++)
			CHECK(calls[i].rounds == round - 1, "%s has ended by itself", calls[i].name);
		for (int i = 0; i < N; i++) {
			calls[i].wake(&calls[i]);
			CHECK(WAIT_FOR(__atomic_load_n(&calls[i].rounds, __ATOMIC_SEQ_CST) == round), "%s does not wake", calls[i].name);
		}
		__atomic_store_n(&gate, round, __ATOMIC_SEQ_CST);
		h_sleep(100 * MS); /* until all are asleep again */
	}
	unlink(fifo);
	semctl(sem, 0, IPC_RMID), msgctl(queue, IPC_RMID, NULL), msgctl(fullq, IPC_RMID, NULL);
	kill(kid[0], SIGKILL), kill(kid[1], SIGKILL);
	return 0;
}

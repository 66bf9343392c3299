/*
 * State: a thread in each kind of wait that a stop from outside may disturb, each asserting that nothing disturbed it;
 * threads that compute in general, SSE and AVX registers and compare; restartable sequences; a POSIX timer, an interval
 * timer and a timerfd that tick; numbers that go round a child tree over pipes, and to and fro over a unix socket and a
 * TCP connection; messages that wait in sockets; a seccomp filter of its own on top. This is the program that rethaw is
 * killed over.
 * Wrong could go: anything. EINTR, a register, a byte of memory, a tick too many, a thread that stays stopped, an option
 * of a socket that was set for a moment (SO_PEEK_OFF, TCP_REPAIR).
 */
#include "ring.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

enum { TIMED = 8, COMPUTE = 2, RSEQ = TIMED + COMPUTE, ROUND, UNIX, TCP, EVENT, THREADS };
static volatile long beats[THREADS];
static volatile long ticks;
static int quiet_event, quiet_pipe[2], quiet_epoll, quiet_sem;
static int quiet_word;
static int unix_pair[2], tcp_pair[2], waiting[2], told, told_epoll;
static struct { uint64_t n; char pad[56]; } cpus[1024] __attribute__((aligned(64)));

/* undisturbed is called with what a wait returned that nothing should have ended. */
static void undisturbed(const char *what, long result)
{
	h_fail("%s returned %ld: %s", what, result, strerror(errno));
	h_sleep(SEC);
}

/* The timed waits: each must end by its timeout alone, and not early. */
static long timed(int kind, struct timespec t)
{
	struct pollfd in = {.fd = quiet_event, .events = POLLIN};
	struct epoll_event event;
	struct timespec at;
	sigset_t none;
	uint64_t count;
	switch (kind) {
	case 0:
		return syscall(SYS_nanosleep, &t, NULL);
	case 1:
		return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
	case 2:
		return poll(&in, 1, (int)(t.tv_nsec / MS));
	case 3:
		return syscall(SYS_epoll_wait, quiet_epoll, &event, 1, (int)(t.tv_nsec / MS));
	case 4:
		return syscall(SYS_futex, &quiet_word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : -1;
	case 5:
		sigemptyset(&none);
		sigaddset(&none, SIGUSR2);
		return sigtimedwait(&none, NULL, &t) == -1 && errno == EAGAIN ? 0 : -1;
	case 6:
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += t.tv_nsec;
		at.tv_sec += at.tv_nsec / SEC;
		at.tv_nsec %= SEC;
		return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	default: {
		static __thread int fd = -1;
		if (fd < 0)
			fd = timerfd_create(CLOCK_MONOTONIC, 0);
		struct itimerspec once = {.it_value = t};
		timerfd_settime(fd, 0, &once, NULL);
		return read(fd, &count, sizeof count) == sizeof count && count == 1 ? 0 : -1;
	}
	}
}

static void *wait_timed(void *arg)
{
	static const char *names[TIMED] = {"nanosleep", "clock_nanosleep", "poll", "epoll_wait", "futex", "sigtimedwait", "clock_nanosleep to a time", "read of a timerfd"};
	int kind = (int)(intptr_t)arg;
	for (long n = 0;; n++) {
		struct timespec t = {0, (7 + (n + kind) % 5 * 10) * MS};
		int64_t from = h_now();
		long r = timed(kind, t);
		if (r)
			undisturbed(names[kind], r);
		CHECK(h_now() - from >= t.tv_nsec - MS, "%s of %ld ms ended after %lld us", names[kind], t.tv_nsec / (long)MS, (long long)(h_now() - from) / 1000);
		beats[kind]++;
	}
	return NULL;
}

/* The endless waits: none of them may ever return. */
static void *wait_endless(void *arg)
{
	struct epoll_event event;
	struct sembuf op = {0, -1, 0};
	sigset_t set;
	char byte;
	uint64_t count;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (;;)
		switch ((int)(intptr_t)arg) {
		case 0:
			undisturbed("endless epoll_wait", syscall(SYS_epoll_wait, quiet_epoll, &event, 1, -1));
			break;
		case 1:
			undisturbed("endless read of a pipe", read(quiet_pipe[0], &byte, 1));
			break;
		case 2:
			undisturbed("endless read of an eventfd", read(quiet_event, &count, sizeof count));
			break;
		case 3:
			undisturbed("endless semop", semop(quiet_sem, &op, 1));
			break;
		case 4:
			undisturbed("endless sigtimedwait", syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 8));
			break;
		default:
			undisturbed("endless futex", syscall(SYS_futex, &quiet_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
		}
	return NULL;
}

/* compute keeps what it works on in registers and knows the result. */
static void *compute(void *arg)
{
	int place = TIMED + (int)(intptr_t)arg;
	uint8_t *memory = malloc(1 << 20);
	for (uint64_t n = 0;; n++) {
		uint64_t a = n, b = ~n, c = n * 3;
		double x = 1.0, y = (double)n;
		for (int i = 0; i < 20000; i++) {
			__asm__ volatile("add $7, %0; xor %1, %2; xor %1, %2" : "+r"(a), "+r"(b), "+r"(c));
			__asm__ volatile("addsd %1, %0; subsd %1, %0" : "+x"(x) : "x"(y));
		}
		CHECK(a == n + 7 * 20000 && b == ~n && c == n * 3, "a general register changed");
		CHECK(x == 1.0 && y == (double)n, "a vector register changed");
		fill(memory, 64 << 10, n);
		CHECK(verify(memory, 64 << 10, n) == -1, "memory changed");
		beats[place]++;
		h_sleep(MS);
	}
	return NULL;
}

/* add is a restartable sequence that takes some time, as in rseq.c. */
static int add(struct rseq *rs)
{
	uint64_t base = (uint64_t)(uintptr_t)cpus, tmp = 0, cpu, n = 300;
	int ok = 0;
	asm volatile(".pushsection __rseq_cs, \"aw\"\n .balign 32\n 3: .long 0, 0\n .quad 1f, 2f-1f, 4f\n .popsection\n"
		     "lea 3b(%%rip), %[tmp]\n mov %[tmp], %c[cs](%[rs])\n"
		     "1: mov %c[id](%[rs]), %k[cpu]\n shl $6, %[cpu]\n add %[base], %[cpu]\n mov (%[cpu]), %[tmp]\n"
		     "5: dec %[n]\n jnz 5b\n inc %[tmp]\n mov %[tmp], (%[cpu])\n"
		     "2: movl $1, %[ok]\n jmp 6f\n .byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\n 4: movl $0, %[ok]\n 6: movq $0, %c[cs](%[rs])\n"
		     : [ok] "+r"(ok), [tmp] "+r"(tmp), [n] "+r"(n), [cpu] "=&r"(cpu)
		     : [rs] "r"(rs), [base] "r"(base), [cs] "i"(offsetof(struct rseq, rseq_cs)), [id] "i"(offsetof(struct rseq, cpu_id))
		     : "memory", "cc");
	return ok;
}
static void *sequences(void *arg)
{
	for (;; beats[RSEQ]++, h_sleep(MS))
		for (int done = 0; done < 3000;)
			done += add((struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset));
	return arg;
}

/* exchange sends a number that only this program knows, and expects it back with more added to it. */
static void *exchange(void *arg)
{
	static const char *names[] = {"child tree", "unix socket", "TCP connection"};
	int place = (int)(intptr_t)arg, kind = place - ROUND;
	int out = (int[]){ring[0][1], unix_pair[0], tcp_pair[0]}[kind], in = (int[]){ring[3][0], unix_pair[0], tcp_pair[0]}[kind];
	for (uint64_t v, w, n = 0;; n++, beats[place]++, h_sleep(MS)) {
		v = h_word(40 + (uint64_t)kind, n);
		if (write(out, &v, sizeof v) != sizeof v)
			undisturbed(names[kind], -1);
		ssize_t r = read(in, &w, sizeof w);
		if (r != sizeof w)
			undisturbed(names[kind], r);
		CHECK(r < 0 || w == v + (kind ? 1 : 3), "%s: %llx came back for %llx", names[kind], (unsigned long long)w, (unsigned long long)v);
	}
	return NULL;
}
static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	for (uint64_t v;;) {
		ssize_t r = read(fd, &v, sizeof v);
		if (r != sizeof v)
			undisturbed("read of an echo", r);
		v++;
		if (write(fd, &v, sizeof v) != sizeof v)
			undisturbed("write of an echo", -1);
	}
	return NULL;
}

/* events arrive one by one: none is given before the last was taken. */
static void *take_events(void *arg)
{
	struct epoll_event e;
	uint64_t v;
	for (;; beats[EVENT]++) {
		int r = epoll_wait(told_epoll, &e, 1, -1);
		if (r != 1)
			h_fail("epoll_wait for events returned %d: %s", r, strerror(errno));
		if (read(told, &v, sizeof v) != sizeof v || v != (uint64_t)beats[EVENT] % 1000 + 1)
			h_fail("event %llu, not %ld", (unsigned long long)v, beats[EVENT] % 1000 + 1);
	}
	return arg;
}
static void *give_events(void *arg)
{
	for (long n = 0;; n++) {
		uint64_t v = (uint64_t)n % 1000 + 1;
		while (beats[EVENT] != n)
			h_sleep(MS / 2);
		if (write(told, &v, sizeof v) != sizeof v)
			undisturbed("write of an event", -1);
	}
	return arg;
}

/* make_sockets makes a unix and a TCP connection, and a queue of messages that nobody takes. */
static void make_sockets(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	uint8_t message[300];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, waiting));
	for (int i = 0; i < 5; i++)
		fill(message, sizeof message, 50 + (uint64_t)i), MUST(send(waiting[0], message, 60 * (size_t)(i + 1), 0));
	int door = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(bind(door, (struct sockaddr *)&at, sizeof at)), MUST(listen(door, 1)), MUST(getsockname(door, (struct sockaddr *)&at, &len));
	tcp_pair[0] = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(tcp_pair[0], (struct sockaddr *)&at, sizeof at));
	tcp_pair[1] = MUST(accept(door, NULL, NULL));
	close(door);
	MUST(setsockopt(tcp_pair[0], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
}
/* check_sockets: the messages are there as they were, and no socket has an option that we did not set. */
static void check_sockets(void)
{
	uint8_t message[300];
	for (int i = 0; i < 5; i++) {
		ssize_t n = recv(waiting[1], message, sizeof message, MSG_DONTWAIT);
		CHECK(n == 60 * (i + 1) && verify(message, (size_t)n, 50 + (uint64_t)i) == -1, "message %d of a queue: %zd bytes", i, n);
	}
	for (int i = 0; i < 5; i++)
		fill(message, sizeof message, 50 + (uint64_t)i), send(waiting[0], message, 60 * (size_t)(i + 1), 0);
	int fds[] = {waiting[0], waiting[1], unix_pair[0], unix_pair[1], tcp_pair[0], tcp_pair[1]};
	for (int i = 0; i < 6; i++) {
		int off = -1, repair = 0;
		socklen_t len = sizeof off;
		getsockopt(fds[i], SOL_SOCKET, SO_PEEK_OFF, &off, &len);
		CHECK(off == -1, "SO_PEEK_OFF of socket %d is %d", i, off);
		len = sizeof repair;
		if (i >= 4 && getsockopt(fds[i], IPPROTO_TCP, TCP_REPAIR, &repair, &len) == 0)
			CHECK(repair == 0, "TCP_REPAIR of socket %d is %d", i, repair);
	}
}

static void on_tick(int s) { (void)s, __atomic_add_fetch(&ticks, 1, __ATOMIC_SEQ_CST); }

/* ticker is the only thread that takes the timers' signals. */
static void *ticker(void *arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	for (;;)
		pause();
	return arg;
}

/* restrict_calls forbids a call that nobody makes: everything else goes through it. */
static void restrict_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void start(void *(*run)(void *), int arg)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, (void *)(intptr_t)arg))
		DIE("pthread_create");
}

int main(void)
{
	sigset_t all;
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec often = {{0, 30 * MS}, {0, 30 * MS}};
	struct itimerval also = {{0, 50000}, {0, 50000}};
	struct epoll_event in = {.events = EPOLLIN};
	h_init();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	fork_ring();
	make_sockets();
	signal(SIGALRM, on_tick);
	signal(SIGRTMIN, on_tick);
	quiet_event = MUST(eventfd(0, 0));
	MUST(pipe(quiet_pipe));
	quiet_epoll = MUST(epoll_create1(0));
	MUST(epoll_ctl(quiet_epoll, EPOLL_CTL_ADD, quiet_event, &in));
	quiet_sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	told = MUST(eventfd(0, 0));
	told_epoll = MUST(epoll_create1(0));
	MUST(epoll_ctl(told_epoll, EPOLL_CTL_ADD, told, &in));
	restrict_calls();
	for (int i = 0; i < TIMED; i++)
		start(wait_timed, i);
	for (int i = 0; i < 6; i++)
		start(wait_endless, i);
	for (int i = 0; i < COMPUTE; i++)
		start(compute, i);
	start(sequences, 0);
	for (int i = ROUND; i <= TCP; i++)
		start(exchange, i);
	start(echo, unix_pair[1]);
	start(echo, tcp_pair[1]);
	start(take_events, 0);
	start(give_events, 0);
	start(ticker, 0);
	MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
	MUST(timer_settime(timer, 0, &often, NULL));
	MUST(setitimer(ITIMER_REAL, &also, NULL));
	ready();
	while (wait_check()) {
		long had[THREADS], ticked = ticks;
		memcpy(had, (void *)beats, sizeof had);
		for (int i = 0; i < THREADS; i++)
			CHECK(WAIT_FOR(beats[i] > had[i]), "thread %d stands still", i);
		uint64_t done = 0, least = (uint64_t)beats[RSEQ] * 3000;
		for (int i = 0; i < 1024; i++)
			done += __atomic_load_n(&cpus[i].n, __ATOMIC_SEQ_CST);
		CHECK(done >= least && done <= ((uint64_t)beats[RSEQ] + 1) * 3000, "restartable sequences: %llu increments, at least %llu were done", (unsigned long long)done, (unsigned long long)least);
		check_sockets();
		CHECK(WAIT_FOR(ticks > ticked), "the timers do not tick");
	}
	return 0;
}

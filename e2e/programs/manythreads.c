/*
 * manythreads: a process with very many threads (argv[1], 64 unless said), asleep in different calls.
 *
 * Each knows its number, its tid, its alternate stack and a word in thread-local storage. A check wakes all of
 * them, and each sees that these are as they were.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include "harness.h"

#define STACK (32 << 10)

static int count = 64, quiet_epoll, quiet_event;
static volatile int generation;
static volatile int *seen;
static __thread uint64_t mine;

static int wait_in(int kind, int now)
{
	struct timespec nap = {0, 50 * MS}, never = {1000, 0};
	struct epoll_event event;
	struct pollfd fd = {quiet_event, POLLIN, 0};
	switch (kind) {
	case 0: return (int)syscall(SYS_nanosleep, &nap, NULL);
	case 1: return epoll_wait(quiet_epoll, &event, 1, 50);
	case 2: return poll(&fd, 1, 50);
	case 3: return (int)syscall(SYS_futex, &generation, FUTEX_WAIT, now, &never, NULL, 0);
	}
	return (int)syscall(SYS_futex, &generation, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void *sleeper(void *arg)
{
	int self = (int)(intptr_t)arg, tid = (int)syscall(SYS_gettid), had = 0;
	char name[16], got[16];
	char room[8192];
	stack_t alternate = {.ss_sp = room, .ss_size = sizeof room}, now;
	/* One in sixteen wakes up again and again; the others wait to be woken. */
	int kind = self % 16 ? 3 + self % 2 : self / 16 % 3;
	snprintf(name, sizeof name, "t%d", self);
	prctl(PR_SET_NAME, name);
	sigaltstack(&alternate, NULL);
	mine = h_word(7, (uint64_t)self);
	for (;;) {
		__atomic_store_n(&seen[self], had, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&generation, __ATOMIC_SEQ_CST) == had)
			if (wait_in(kind, had) < 0 && errno != EAGAIN)
				h_fail("thread %d: wait of kind %d: %s", self, kind, strerror(errno));
		had = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
		CHECK(tid == (int)syscall(SYS_gettid), "thread %d has tid %d, was %d", self, (int)syscall(SYS_gettid), tid);
		CHECK(mine == h_word(7, (uint64_t)self), "thread %d has another's thread-local storage", self);
		prctl(PR_GET_NAME, got);
		CHECK(!strcmp(name, got), "thread %d is called %s", self, got);
		sigaltstack(NULL, &now);
		CHECK(now.ss_sp == room && now.ss_size == sizeof room, "thread %d has another alternate stack", self);
	}
	return NULL;
}

static int all_have(int want)
{
	for (int i = 1; i < count; i++)
		if (__atomic_load_n(&seen[i], __ATOMIC_SEQ_CST) != want)
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct epoll_event in = {.events = EPOLLIN};
	pthread_attr_t small;
	if (argc > 1)
		count = atoi(argv[1]);
	h_init();
	seen = calloc((size_t)count, sizeof *seen);
	for (int i = 0; i < count; i++)
		seen[i] = -1;
	quiet_event = MUST(eventfd(0, 0));
	quiet_epoll = MUST(epoll_create1(0));
	MUST(epoll_ctl(quiet_epoll, EPOLL_CTL_ADD, quiet_event, &in));
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	for (int i = 1; i < count; i++) {
		pthread_t thread;
		errno = pthread_create(&thread, &small, sleeper, (void *)(intptr_t)i);
		if (errno)
			DIE("thread %d", i);
	}
	while (!all_have(0))
		h_sleep(MS);
	ready();
	while (wait_check()) {
		int want = __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST), tries = 0;
		syscall(SYS_futex, &generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
		while (!all_have(want) && tries++ < 10000)
			h_sleep(2 * MS);
		for (int i = 1; i < count; i++)
			CHECK(seen[i] == want, "thread %d does not answer", i);
	}
	return 0;
}

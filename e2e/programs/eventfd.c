/*
 * State: eventfds: plain, semaphore, empty and non-blocking, at the maximum, shared with a child, a blocked reader.
 * Wrong could go: EFD_SEMAPHORE lost (a read then takes all), the counter truncated to 32 bits or read by the saver,
 * O_NONBLOCK lost, the child's eventfd no longer ours, the blocked reader woken or gone.
 */
#include "harness.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define MAX 0xfffffffffffffffeULL

static int blocked, woke;
static uint64_t got;

static void *reader(void *arg)
{
	(void)arg;
	for (;;) {
		ssize_t n = read(blocked, (void *)&got, 8);
		if (n != 8)
			h_fail("the blocked read returned %zd, %s", n, strerror(errno));
		__atomic_add_fetch(&woke, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}
static uint64_t take(int fd)
{
	uint64_t v = 0;
	if (read(fd, &v, 8) != 8)
		return errno == EAGAIN ? 0 : ~0ULL;
	return v;
}
static void give(int fd, uint64_t v) { CHECK(write(fd, &v, 8) == 8, "write to eventfd: %s", strerror(errno)); }
static int events(int fd)
{
	struct pollfd p = {fd, POLLIN | POLLOUT, 0};
	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}
static long info(int fd, const char *key, int base)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	return h_field(path, key, text, sizeof text) ? strtol(text, NULL, base) : -1;
}

int main(void)
{
	int plain = MUST(eventfd(5, EFD_NONBLOCK)), large = MUST(eventfd(0, EFD_NONBLOCK));
	int sem = MUST(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK)), empty = MUST(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	int full = MUST(eventfd(0, EFD_NONBLOCK)), semblock = MUST(eventfd(7, EFD_SEMAPHORE));
	int ask = MUST(eventfd(0, 0)), answer = MUST(eventfd(0, 0));
	h_init();
	uint64_t big = (h.nonce >> 1) | 1ULL << 33;
	give(large, big);
	give(full, MAX);
	blocked = MUST(eventfd(0, 0));
	if (!MUST(fork())) { /* answers every count with its double */
		for (;;) {
			uint64_t v = 0;
			if (read(ask, &v, 8) != 8)
				exit(1);
			give(answer, v * 2);
			if (v == 99)
				exit(0);
		}
	}
	pthread_t t;
	if (pthread_create(&t, NULL, reader, NULL))
		DIE("pthread_create");
	ready();

	for (int round = 1; wait_check(); round++) {
		CHECK(info(plain, "eventfd-semaphore", 10) <= 0, "the plain one became a semaphore");
		CHECK(info(sem, "eventfd-semaphore", 10) != 0, "the semaphore became plain (fdinfo)");
		CHECK(info(plain, "eventfd-count", 16) == 5, "fdinfo says the count is %ld", info(plain, "eventfd-count", 16));
		CHECK((fcntl(sem, F_GETFL) & O_ACCMODE) == O_RDWR && (fcntl(semblock, F_GETFL) & O_NONBLOCK) == 0, "flags");
		CHECK(fcntl(empty, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0, "close-on-exec");
		CHECK(events(plain) == (POLLIN | POLLOUT) && events(empty) == POLLOUT && events(full) == POLLIN, "poll");

		uint64_t v = take(plain);
		CHECK(v == 5, "the plain count is %llu, not 5", (unsigned long long)v);
		CHECK(take(plain) == 0, "the plain one was not emptied by a read");
		give(plain, 5);
		v = take(large);
		CHECK(v == big, "the large count is %llx, not %llx", (unsigned long long)v, (unsigned long long)big);
		give(large, big);
		int n = 0;
		while ((v = take(sem)) == 1)
			n++;
		CHECK(v == 0 && n == 3, "the semaphore gave %d ones, then %llu", n, (unsigned long long)v);
		give(sem, 3);
		CHECK(take(semblock) == 1 && info(semblock, "eventfd-count", 16) == 6, "the blocking semaphore is not at 7");
		give(semblock, 1);
		CHECK(take(empty) == 0, "the empty one has a count");
		v = 1;
		CHECK(write(full, &v, 8) < 0 && errno == EAGAIN, "the full one took more");
		CHECK(take(full) == MAX, "the full one was not at the maximum");
		give(full, MAX);

		give(ask, (uint64_t)round + 100);
		v = take(answer);
		CHECK(v == 2 * ((uint64_t)round + 100), "the child answered %llu", (unsigned long long)v);
		CHECK(__atomic_load_n(&woke, __ATOMIC_SEQ_CST) == round - 1, "the blocked reader woke %d times, not %d", woke, round - 1);
		give(blocked, (uint64_t)round << 40);
		CHECK(WAIT_FOR(__atomic_load_n(&woke, __ATOMIC_SEQ_CST) == round), "the blocked reader does not wake");
		CHECK(got == (uint64_t)round << 40, "it read %llx", (unsigned long long)got);
	}
	give(ask, 99);
	return 0;
}

/*
 * forker: processes that fork as fast as they can, in every way that there is.
 *
 * Some fork children that end at once, and read their exit statuses; some do it by vfork(2); some start threads that end at once;
 * and some are a chain in which each forks the next and ends, so that init adopts them all. argv[1] of each kind (1 unless said).
 */
#include <pthread.h>
#include <sys/wait.h>
#include "harness.h"

enum { FORK, VFORK, THREAD, CHAIN, KINDS };
#define MANY 16

/* counts lives in memory that all of them share. */
static struct { volatile long turns[KINDS][MANY]; volatile long wrong; volatile int what; } *shared;

static void wrong(int what)
{
	shared->what = what;
	__atomic_add_fetch(&shared->wrong, 1, __ATOMIC_SEQ_CST);
}

static void forks(int i)
{
	for (long n = 0;; n++, shared->turns[FORK][i]++) {
		int status, child = fork();
		if (child < 0) {
			h_sleep(MS);
			continue;
		}
		if (child == 0)
			_exit((int)(n & 63));
		if (waitpid(child, &status, 0) != child || status != (int)(n & 63) << 8)
			wrong(1);
	}
}

static void vforks(int i)
{
	for (volatile long n = 0;; n++, shared->turns[VFORK][i]++) {
		int status, child = vfork();
		if (child == 0)
			_exit((int)(n & 63));
		if (child > 0 && (waitpid(child, &status, 0) != child || status != (int)(n & 63) << 8))
			wrong(2);
	}
}

static void *brief(void *arg) { return (char *)arg + 1; }

static void threads(int i)
{
	for (long n = 0;; n++, shared->turns[THREAD][i]++) {
		pthread_t thread;
		void *result;
		if (pthread_create(&thread, NULL, brief, (void *)n))
			h_sleep(MS);
		else if (pthread_join(thread, &result) || (long)result != n + 1)
			wrong(3);
	}
}

static void chain(int i)
{
	for (;;) {
		int next = fork();
		if (next > 0)
			_exit(7);
		if (next < 0)
			h_sleep(MS);
		else
			shared->turns[CHAIN][i]++;
	}
}

static void (*const kinds[KINDS])(int) = {forks, vforks, threads, chain};
static const char *const names[KINDS] = {"fork", "vfork", "thread", "chain"};

/* reap is init's work: the links of the chains are its children in the end. */
static void *reap(void *arg)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid > 0 && status != 7 << 8)
			wrong(4);
		if (pid < 0 && errno != EINTR)
			h_sleep(MS);
	}
	return arg;
}

int main(int argc, char **argv)
{
	int each = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t reaper;
	h_init();
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || each > MANY)
		DIE("set up");
	for (int k = 0; k < KINDS; k++)
		for (int i = 0; i < each; i++)
			if (MUST(fork()) == 0)
				kinds[k](i);
	if (pthread_create(&reaper, NULL, reap, NULL))
		DIE("pthread_create");
	ready();
	while (wait_check()) {
		long before[KINDS][MANY];
		memcpy(before, (void *)shared->turns, sizeof before);
		for (int k = 0; k < KINDS; k++)
			for (int i = 0; i < each; i++)
				CHECK(WAIT_FOR(shared->turns[k][i] > before[k][i]), "%s %d stands still", names[k], i);
		CHECK(!shared->wrong, "%ld of the children ended in a wrong way (%d)", shared->wrong, shared->what);
	}
	return 0;
}

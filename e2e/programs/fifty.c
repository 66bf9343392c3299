/*
 * State: a tree of 50 processes, each the child of the one at half its number, in two rings of pipes. In one ring a
 * token goes round all the time; in the other, only when asked, one that every process adds its secret to.
 * Wrong could go: a pipe between the wrong two, a byte lost or doubled in one, an end held by a task that had closed
 * it, a parent that is not the parent, memory of one process in another.
 */
#include "harness.h"
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { N = 50, BUSY = 0, ASKED = 1 };

struct token {
	uint64_t sum, hops;
};
static int ends[2][N][2]; /* ring, place: the pipe that leads to that place */
static struct {
	volatile long laps;
	volatile int broken;
} *shared;

static void broke(int place)
{
	__atomic_store_n(&shared->broken, place + 1, __ATOMIC_SEQ_CST);
	for (;;)
		h_sleep(SEC);
}

/* keep closes every end but the four that the process at a place needs. */
static void keep(int place)
{
	for (int ring = 0; ring < 2; ring++)
		for (int i = 0; i < N; i++) {
			if (i != place)
				close(ends[ring][i][0]);
			if (i != (place + 1) % N)
				close(ends[ring][i][1]);
		}
}

static void pass(int ring, int place, const struct token *t)
{
	if (write(ends[ring][(place + 1) % N][1], t, sizeof *t) != sizeof *t)
		broke(place);
}

/* serve passes on what comes, in every process but the first. */
static void serve(int place, pid_t parent)
{
	struct pollfd in[2] = {{.fd = ends[BUSY][place][0], .events = POLLIN}, {.fd = ends[ASKED][place][0], .events = POLLIN}};
	uint64_t secret = h_word(1000, (uint64_t)place), last = 0;
	pid_t self = (pid_t)syscall(SYS_getpid);
	for (;;) {
		if (poll(in, 2, -1) <= 0)
			broke(place); /* nobody signals us: EINTR has no cause */
		for (int ring = 0; ring < 2; ring++) {
			struct token t;
			if (!in[ring].revents)
				continue;
			if (in[ring].revents != POLLIN || read(in[ring].fd, &t, sizeof t) != sizeof t)
				broke(place);
			if (getppid() != parent || (pid_t)syscall(SYS_getpid) != self || h_word(1000, (uint64_t)place) != secret)
				broke(place);
			if (ring == ASKED)
				t.sum += secret;
			else if (last && t.hops != last + N)
				broke(place);
			else
				last = t.hops;
			t.hops++;
			pass(ring, place, &t);
		}
	}
}

/* busy is a thread of the first process: its place in the ring that never rests. */
static void *busy(void *arg)
{
	struct token t = {0, 0};
	(void)arg;
	for (;;) {
		uint64_t hops = t.hops;
		pass(BUSY, 0, &t);
		if (read(ends[BUSY][0][0], &t, sizeof t) != sizeof t || t.hops != hops + N - 1)
			broke(0);
		t.hops++;
		shared->laps++;
		h_sleep(20 * MS);
	}
	return NULL;
}

/* grow makes the processes below a place: those at twice its number and one more. */
static void grow(int place)
{
	for (int kid = 2 * place + 1; kid <= 2 * place + 2 && kid < N; kid++) {
		pid_t parent = (pid_t)syscall(SYS_getpid);
		if (MUST(fork()) > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		grow(kid);
		keep(kid);
		serve(kid, parent);
	}
}

int main(void)
{
	uint64_t want = 0;
	h_init();
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		DIE("mmap");
	for (int ring = 0; ring < 2; ring++)
		for (int i = 0; i < N; i++)
			MUST(pipe(ends[ring][i]));
	for (uint64_t i = 1; i < N; i++)
		want += h_word(1000, i);
	grow(0);
	keep(0);
	pthread_t thread;
	if (pthread_create(&thread, NULL, busy, NULL))
		DIE("pthread_create");
	if (!WAIT_FOR(shared->laps > 2))
		DIE("the ring of 50 does not go round");
	ready();
	while (wait_check()) {
		struct token t = {0, 0};
		long laps = shared->laps;
		pass(ASKED, 0, &t);
		if (read(ends[ASKED][0][0], &t, sizeof t) != sizeof t)
			h_fail("the ring: %s", strerror(errno));
		CHECK(t.hops == N - 1, "%llu processes in the ring, want %d", (unsigned long long)t.hops, N - 1);
		CHECK(t.sum == want, "the secrets of the ring do not add up");
		CHECK(WAIT_FOR(shared->laps > laps + 2), "the busy ring stands still");
		CHECK(!shared->broken, "process %d of the ring found itself wrong", shared->broken - 1);
	}
	return 0;
}

/*
 * State: epoll instances: many descriptors with different events and 64-bit data, EPOLLET with an edge already taken
 * and one not yet taken, EPOLLONESHOT armed and shot, EPOLLEXCLUSIVE, EPOLLWAKEUP, nested instances, a descriptor that
 * was registered and then closed while its dup lives, one registered under two numbers, an instance shared by fork.
 * Wrong could go: an edge that is never reported, a disarmed one that fires, data cut to 32 bits, the entry of the closed
 * number lost, nesting. The kernel shows nobody whether an edge was taken, so that one report more is allowed after a
 * restore: programs must bear that anyhow, while a lost edge hangs them.
 */
#include "harness.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static uint64_t tag(int n) { return h.nonce ^ (uint64_t)n * 0x0101010101010101ULL; }
static void add(int ep, int fd, uint32_t events, int n)
{
	struct epoll_event e = {events, {.u64 = tag(n)}};
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		DIE("epoll_ctl add %d", n);
}
static void mod(int ep, int fd, uint32_t events, int n)
{
	struct epoll_event e = {events, {.u64 = tag(n)}};
	CHECK(!epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e), "epoll_ctl mod %d: %s", n, strerror(errno));
}
/* seen returns the events that are reported for entry n, 0 for none; all are taken at once by collect */
static struct epoll_event got[64];
static int ngot;
static void collect(int ep, int ms)
{
	ngot = epoll_wait(ep, got, 64, ms);
	CHECK(ngot >= 0, "epoll_wait: %s", strerror(errno));
}
static uint32_t seen(int n)
{
	for (int i = 0; i < ngot; i++)
		if (got[i].data.u64 == tag(n))
			return got[i].events;
	return 0;
}
static void set(int fd) { uint64_t v = 1; CHECK(write(fd, &v, 8) == 8, "write"); }
static void clear(int fd) { uint64_t v; CHECK(read(fd, &v, 8) == 8, "read: %s", strerror(errno)); }
/* info counts the entries of fdinfo, and finds one by its descriptor */
static int info(int ep, int fd, uint32_t *events, uint64_t *data)
{
	static char text[16384];
	char path[64], *p = text;
	int n = 0, tfd;
	unsigned ev;
	unsigned long long d;
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", ep);
	h_slurp(path, text, sizeof text);
	while ((p = strstr(p, "tfd:"))) {
		if (sscanf(p, "tfd: %d events: %x data: %llx", &tfd, &ev, &d) == 3) {
			n++;
			if (tfd == fd)
				*events = ev, *data = d;
		}
		p += 4;
	}
	return n;
}

int main(void)
{
	enum { LEVEL = 1, TAKEN, FRESH, SHOT, ARMED, OUT, EXCL, WAKE, PIPE, GHOST, TWICE1, TWICE2, INNER, IDLE, MANY = 100 };
	int fd[16], p[2], many[40];
	h_init();
	int ep = MUST(epoll_create1(EPOLL_CLOEXEC)), inner = MUST(epoll_create1(0)), deep = MUST(epoll_create1(0)), shared = MUST(epoll_create1(0)), lone = MUST(epoll_create1(0));
	for (int i = 0; i < 16; i++)
		fd[i] = MUST(eventfd(0, EFD_NONBLOCK));
	add(ep, fd[LEVEL], EPOLLIN, LEVEL), add(ep, fd[TAKEN], EPOLLIN | EPOLLET, TAKEN), add(ep, fd[FRESH], EPOLLIN | EPOLLET, FRESH);
	add(ep, fd[SHOT], EPOLLIN | EPOLLONESHOT, SHOT), add(ep, fd[ARMED], EPOLLIN | EPOLLONESHOT | EPOLLET, ARMED), add(ep, fd[OUT], EPOLLOUT | EPOLLONESHOT | EPOLLPRI, OUT);
	add(ep, fd[EXCL], EPOLLIN | EPOLLEXCLUSIVE, EXCL), add(ep, fd[WAKE], EPOLLIN | EPOLLWAKEUP | EPOLLRDHUP, WAKE), add(ep, fd[IDLE], 0, IDLE);
	MUST(pipe2(p, O_NONBLOCK));
	add(ep, p[0], EPOLLIN | EPOLLET, PIPE);
	int twice = MUST(dup(fd[9])); /* one description under two numbers: two entries */
	add(ep, fd[9], EPOLLIN, TWICE1), add(ep, twice, EPOLLIN | EPOLLET, TWICE2);
	int ghost = MUST(eventfd(0, EFD_NONBLOCK)), ghost_dup = MUST(fcntl(ghost, F_DUPFD, 200));
	add(ep, ghost, EPOLLIN, GHOST);
	close(ghost); /* the entry lives on, since the description does */
	int reuse = MUST(eventfd(0, EFD_NONBLOCK)); /* takes the number */
	add(inner, fd[10], EPOLLIN | EPOLLET, 1), add(deep, fd[11], EPOLLIN, 1), add(inner, deep, EPOLLIN, 2), add(ep, inner, EPOLLIN, INNER);
	for (int i = 0; i < 40; i++) {
		many[i] = MUST(eventfd(0, EFD_NONBLOCK));
		add(lone, many[i], EPOLLIN, MANY + i);
	}
	/* edges: all become ready; one report is taken */
	for (int i = TAKEN; i <= SHOT; i++)
		set(fd[i]);
	clear(fd[FRESH]);
	epoll_wait(ep, got, 64, 0); /* takes the edges of TAKEN, SHOT and OUT: the last two are now disarmed */
	set(fd[FRESH]);		    /* an edge nobody has seen */
	add(shared, fd[12], EPOLLIN, 3);
	if (!MUST(fork())) { /* shares the instances; its numbers are the same here */
		h_part("child");
		while (wait_check()) {
			collect(shared, 5000);
			CHECK(ngot == 1 && seen(3) == EPOLLIN, "the shared instance reports %d events", ngot);
			clear(fd[12]);
			collect(shared, 0);
			CHECK(ngot == 0, "the shared instance reports %d events more", ngot);
			mod(shared, fd[12], EPOLLIN | (h.check % 2 ? EPOLLOUT : 0), 4 + h.check);
		}
		_exit(0);
	}
	ready();

	for (int restores = 0; wait_check();) {
		uint32_t ev = 0;
		uint64_t d = 0;
		int n = info(ep, ghost, &ev, &d);
		CHECK(n == 14 || n == 13, "%d entries, not 14", n);
		CHECK(ev == (EPOLLIN | EPOLLERR | EPOLLHUP) && d == tag(GHOST), "the entry of the closed number: events %x", ev);
		n = info(ep, fd[SHOT], &ev, &d);
		CHECK(ev == EPOLLONESHOT, "the shot entry has events %x", ev);
		n = info(ep, fd[EXCL], &ev, &d);
		CHECK(ev == (EPOLLIN | EPOLLEXCLUSIVE | EPOLLERR | EPOLLHUP) && d == tag(EXCL), "the exclusive entry has events %x", ev);
		CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC && fcntl(inner, F_GETFD) == 0, "close-on-exec");

		collect(ep, 0);
		CHECK(seen(FRESH) == EPOLLIN, "the edge that nobody had seen is lost");
		int more = h.restores != restores && seen(TAKEN) == EPOLLIN;
		restores = h.restores;
		CHECK(!seen(TAKEN) || more, "the edge that was taken is reported again");
		CHECK(!seen(SHOT) && !seen(OUT), "a disarmed entry fires");
		CHECK(ngot == 1 + more, "%d events at rest, not 1", ngot);
		collect(ep, 0);
		CHECK(ngot == 0, "an edge is reported twice");

		set(fd[TAKEN]), set(fd[LEVEL]), set(fd[ARMED]), set(fd[EXCL]), set(fd[WAKE]), set(fd[9]), set(ghost_dup), set(reuse), set(fd[11]);
		CHECK(write(p[1], "x", 1) == 1, "write");
		collect(ep, 0);
		CHECK(seen(TAKEN) == EPOLLIN && seen(LEVEL) == EPOLLIN && seen(ARMED) == EPOLLIN && seen(EXCL) == EPOLLIN && seen(WAKE) == EPOLLIN && seen(PIPE) == EPOLLIN, "some do not fire: %d events", ngot);
		CHECK(seen(TWICE1) == EPOLLIN && seen(TWICE2) == EPOLLIN, "a description under two numbers: %x %x", seen(TWICE1), seen(TWICE2));
		CHECK(seen(GHOST) == EPOLLIN, "the entry of the closed number does not fire");
		CHECK(seen(INNER) == EPOLLIN && ngot == 10, "the nested instance does not fire; %d events", ngot);
		collect(inner, 0);
		CHECK(ngot == 1 && seen(2) == EPOLLIN, "the inner instance: %d events", ngot);
		collect(deep, 0);
		CHECK(ngot == 1 && seen(1) == EPOLLIN, "the innermost instance: %d events", ngot);
		collect(ep, 0);
		CHECK(seen(LEVEL) && !seen(TAKEN) && !seen(ARMED) && !seen(PIPE) && !seen(TWICE2) && seen(TWICE1), "second look: %d events", ngot);
		char c;
		clear(fd[TAKEN]), clear(fd[LEVEL]), clear(fd[ARMED]), clear(fd[EXCL]), clear(fd[WAKE]), clear(fd[9]), clear(ghost_dup), clear(reuse), clear(fd[11]);
		CHECK(read(p[0], &c, 1) == 1, "read");
		collect(ep, 0);
		CHECK(ngot == 0, "%d events after all was read", ngot);

		mod(ep, fd[SHOT], EPOLLIN | EPOLLONESHOT, SHOT), mod(ep, fd[ARMED], EPOLLIN | EPOLLONESHOT | EPOLLET, ARMED), mod(ep, fd[OUT], EPOLLOUT | EPOLLONESHOT | EPOLLPRI, OUT);
		collect(ep, 0);
		CHECK(ngot == 2 && seen(SHOT) == EPOLLIN && seen(OUT) == EPOLLOUT, "armed again: %d events", ngot);
		for (int i = 0; i < 40; i++)
			set(many[i]);
		collect(lone, 0);
		for (int i = 0; i < 40; i++) {
			CHECK(seen(MANY + i) == EPOLLIN, "entry %d of many", i);
			clear(many[i]);
		}
		set(fd[12]);
		h_collect("child");
		collect(shared, 0);
		CHECK(h.check % 2 ? ngot == 1 && seen(4 + h.check) == EPOLLOUT : ngot == 0, "what the child changed in the shared instance does not show: %d", ngot);
		mod(shared, fd[12], EPOLLIN, 3);
		set(fd[TAKEN]), collect(ep, 0); /* ready again, its edge taken */
		CHECK(seen(TAKEN) == EPOLLIN, "a new edge");
		clear(fd[FRESH]), set(fd[FRESH]);
	}
	return 0;
}

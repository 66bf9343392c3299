/*
 * State: packet pipes (O_DIRECT): each read gives one packet, of at most 4096 bytes; packets of many sizes; a pipe that
 * became one after data had been written to it, and one end only of which is in packet mode.
 * Wrong could go: the boundaries, which a plain copy of the bytes loses; the flag; data of both kinds in one pipe.
 */
#include "harness.h"

static const size_t sizes[] = {1, 4096, 10, 777, 4095, 2, 2, 3000};
enum { N = sizeof sizes / sizeof *sizes };
static char buf[8192];

static void put(int fd)
{
	for (int i = 0; i < N; i++) {
		fill(buf, sizes[i], (uint64_t)i);
		CHECK(write(fd, buf, sizes[i]) == (ssize_t)sizes[i], "write: %s", strerror(errno));
	}
}
static void expect(int fd, size_t n, int seed)
{
	memset(buf, 0, n);
	ssize_t r = read(fd, buf, sizeof buf);
	CHECK(r == (ssize_t)n && verify(buf, n, (uint64_t)seed) < 0, "packet %d: %zd bytes, or others than the %zu written", seed, r, n);
}
static void mixed(const int *p)
{
	fill(buf, 4096, 50); /* a whole page: nothing is merged into it */
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	CHECK(write(p[1], buf, 1000) == 1000 && write(p[1], buf + 1000, 3096) == 3096, "write: %s", strerror(errno)); /* one stretch */
	fcntl(p[1], F_SETFL, O_NONBLOCK | O_DIRECT);
	fill(buf, 60, 51);
	CHECK(write(p[1], buf, 60) == 60, "write: %s", strerror(errno));
	fill(buf, 70, 52);
	CHECK(write(p[1], buf, 70) == 70, "write: %s", strerror(errno));
}

int main(void)
{
	int p[2], q[2];
	h_init();
	MUST(pipe2(p, O_DIRECT | O_NONBLOCK)), MUST(pipe2(q, O_NONBLOCK));
	put(p[1]), mixed(q);
	ready();
	while (wait_check()) {
		CHECK(h_flags(p[0]) == O_NONBLOCK && h_flags(p[1]) == (O_WRONLY | O_DIRECT | O_NONBLOCK), "flags %o %o", h_flags(p[0]), h_flags(p[1]));
		CHECK(h_flags(q[0]) == O_NONBLOCK && h_flags(q[1]) == (O_WRONLY | O_NONBLOCK | O_DIRECT), "flags %o %o", h_flags(q[0]), h_flags(q[1]));
		for (int i = 0; i < N; i++)
			expect(p[0], sizes[i], i);
		CHECK(read(p[0], buf, 1) < 0 && errno == EAGAIN, "more packets than were written");
		put(p[1]);
		memset(buf, 0, sizeof buf);
		ssize_t n = read(q[0], buf, sizeof buf); /* plain bytes, up to the end of the first packet */
		char packet[60];
		fill(packet, 60, 51);
		CHECK(n == 4156 && verify(buf, 4096, 50) < 0 && !memcmp(buf + 4096, packet, 60), "bytes and the first packet: %zd bytes", n);
		expect(q[0], 70, 52);
		CHECK(read(q[0], buf, 1) < 0 && errno == EAGAIN, "more packets than were written");
		mixed(q);
	}
	return 0;
}

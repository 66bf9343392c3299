/*
 * State: TCP connections that are full in both directions, over v4 and v6: megabytes in all queues, windows closed.
 * Wrong could go: bytes lost or doubled between the queues, which the kernel goes on moving while tasks stand still, a
 * sender that never hears of an open window. (The test does not compare the queues from outside: how much of it has
 * arrived changes by itself.)
 */
#include "harness.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static socklen_t local(struct sockaddr_storage *a, int family, int port)
{
	memset(a, 0, sizeof *a);
	a->ss_family = (sa_family_t)family;
	if (family == AF_INET6) {
		((struct sockaddr_in6 *)a)->sin6_addr = in6addr_loopback, ((struct sockaddr_in6 *)a)->sin6_port = htons((uint16_t)port);
		return sizeof(struct sockaddr_in6);
	}
	((struct sockaddr_in *)a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK), ((struct sockaddr_in *)a)->sin_port = htons((uint16_t)port);
	return sizeof(struct sockaddr_in);
}
static int pair(int family, int *ends)
{
	struct sockaddr_storage a;
	socklen_t l = local(&a, family, 0);
	int s = socket(family, SOCK_STREAM, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&a, l))
		return -1;
	MUST(listen(s, 1)), MUST(getsockname(s, (struct sockaddr *)&a, &l));
	ends[0] = MUST(socket(family, SOCK_STREAM, 0));
	MUST(connect(ends[0], (struct sockaddr *)&a, l));
	ends[1] = MUST(accept(s, NULL, NULL));
	return close(s);
}
/* as much as goes in, and all of it again */
static uint64_t stuff(int s, int seed)
{
	static char block[8000];
	uint64_t n = 0;
	for (ssize_t r;; n += (uint64_t)r) {
		for (size_t i = 0; i < sizeof block; i++)
			block[i] = (char)((n + i) * 7 + (n + i) / 251 + (uint64_t)seed);
		if ((r = send(s, block, sizeof block, MSG_DONTWAIT)) <= 0)
			return n;
	}
}
static void unstuff(int s, uint64_t want, int seed)
{
	static char block[8000];
	uint64_t n = 0;
	struct pollfd p = {s, POLLIN, 0};
	while (n < want && poll(&p, 1, 3000) == 1) {
		ssize_t r = recv(s, block, sizeof block, MSG_DONTWAIT);
		if (r <= 0)
			break;
		for (ssize_t i = 0; i < r; i++, n++)
			if (block[i] != (char)(n * 7 + n / 251 + (uint64_t)seed)) {
				h_fail("byte %llu of a full connection is another", (unsigned long long)n);
				return;
			}
	}
	CHECK(n == want, "%llu of %llu bytes of a full connection: %s", (unsigned long long)n, (unsigned long long)want, strerror(errno));
	CHECK(recv(s, block, 1, MSG_DONTWAIT) < 0, "a full connection had more bytes");
}
int main(void)
{
	int ends[3][2], n = 0;
	uint64_t stuffed[3][2];
	h_init();
	for (int i = 0; i < 3; i++)
		n += !pair(i == 1 ? AF_INET6 : AF_INET, ends[n]);
	for (int round = 0;; round++) {
		for (int i = 0; i < n; i++) /* the last one in one direction only */
			for (int j = 0; j < 2; j++)
				stuffed[i][j] = i == 2 && j == 1 ? 0 : stuff(ends[i][j], i * 2 + j);
		if (round == 0)
			ready();
		if (!wait_check())
			return 0;
		for (int i = 0; i < n; i++)
			for (int j = 0; j < 2; j++)
				unstuff(ends[i][1 - j], stuffed[i][j], i * 2 + j);
	}
}

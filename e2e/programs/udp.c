/*
 * State: UDP sockets over v4 and v6: bound, connected, with queued datagrams from several senders, options, two on one
 * port (REUSEPORT), broadcast, one that is only created.
 * Wrong could go: boundaries and senders of queued datagrams, an empty datagram, the connected peer's filter, options,
 * ports given anew.
 */
#include "harness.h"
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

union addr { struct sockaddr sa; struct sockaddr_in v4; struct sockaddr_in6 v6; };
static char text[60000];

static socklen_t local(union addr *a, int family, int port)
{
	memset(a, 0, sizeof *a);
	a->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK), a->v4.sin_port = htons((uint16_t)port);
	else
		a->v6.sin6_addr = in6addr_loopback, a->v6.sin6_port = htons((uint16_t)port);
	return family == AF_INET ? sizeof a->v4 : sizeof a->v6;
}
static int port_of(int s, int peer)
{
	union addr a;
	socklen_t l = sizeof a;
	return (peer ? getpeername(s, &a.sa, &l) : getsockname(s, &a.sa, &l)) ? -errno : ntohs(a.v4.sin_port);
}
static int opt(int s, int level, int name)
{
	int v = -1;
	socklen_t l = sizeof v;
	getsockopt(s, level, name, &v, &l);
	return v;
}
static int on(int family, int port)
{
	union addr a;
	socklen_t l = local(&a, family, port);
	int s = socket(family, SOCK_DGRAM, 0);
	return s < 0 ? -1 : bind(s, &a.sa, l) ? close(s), -1 : s;
}
static void give(int s, int port, size_t n, int seed) /* port 0: to the connected peer */
{
	union addr a;
	socklen_t l = local(&a, opt(s, SOL_SOCKET, SO_DOMAIN), port);
	fill(text, n, (uint64_t)seed);
	CHECK(sendto(s, text, n, 0, port ? &a.sa : NULL, port ? l : 0) == (ssize_t)n, "datagram %d: %s", seed, strerror(errno));
}
static void expect(int s, size_t n, int seed, int port)
{
	union addr a = {0};
	socklen_t l = sizeof a;
	memset(text, 0, n);
	ssize_t r = recvfrom(s, text, sizeof text, MSG_DONTWAIT, &a.sa, &l);
	CHECK(r == (ssize_t)n && verify(text, n, (uint64_t)seed) < 0, "datagram %d: %zd bytes, or others than the %zu sent: %s", seed, r, n, r < 0 ? strerror(errno) : "");
	CHECK(r < 0 || ntohs(a.v4.sin_port) == port, "datagram %d came from port %d, not %d", seed, ntohs(a.v4.sin_port), port);
}
static int silent(int s)
{
	char c;
	return recv(s, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}
static struct option { int level, name, value; } const options[] = {
	{SOL_SOCKET, SO_REUSEADDR, 1}, {SOL_SOCKET, SO_BROADCAST, 1}, {SOL_SOCKET, SO_RCVBUF, 90000}, {SOL_SOCKET, SO_SNDBUF, 80000}, {SOL_SOCKET, SO_TIMESTAMP, 1},
	{SOL_SOCKET, SO_PRIORITY, 3},  {IPPROTO_IP, IP_TTL, 33},      {IPPROTO_IP, IP_PKTINFO, 1},    {IPPROTO_IP, IP_RECVTTL, 1},    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO},
	{IPPROTO_IP, IP_TOS, 0x20},    {IPPROTO_IP, IP_MULTICAST_TTL, 9}, {IPPROTO_IP, IP_RECVERR, 1}, {SOL_SOCKET, SO_NO_CHECK, 1},
};
enum { NOPT = sizeof options / sizeof *options };

int main(void)
{
	union addr a;
	socklen_t l;
	int was[NOPT], one = 1;
	h_init();
	int server = MUST(on(AF_INET, 0)), one_end = MUST(on(AF_INET, 0)), other_end = MUST(on(AF_INET, 0)), stranger = MUST(on(AF_INET, 0)), v6 = on(AF_INET6, 0);
	int fresh = MUST(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), pair[2];
	for (int i = 0; i < NOPT; i++)
		setsockopt(server, options[i].level, options[i].name, &options[i].value, sizeof(int));
	for (int i = 0; i < NOPT; i++) /* not before all are set: IP_TOS changes SO_PRIORITY */
		was[i] = opt(server, options[i].level, options[i].name);
	for (int i = 0; i < 2; i++) {
		pair[i] = MUST(socket(AF_INET, SOCK_DGRAM, 0));
		setsockopt(pair[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
		l = local(&a, AF_INET, i ? port_of(pair[0], 0) : 0);
		MUST(bind(pair[i], &a.sa, l));
	}
	l = local(&a, AF_INET, port_of(other_end, 0)), MUST(connect(one_end, &a.sa, l));
	l = local(&a, AF_INET, port_of(one_end, 0)), MUST(connect(other_end, &a.sa, l));
	int ports[] = {port_of(server, 0), port_of(one_end, 0), port_of(other_end, 0), port_of(stranger, 0), v6 < 0 ? 0 : port_of(v6, 0), port_of(pair[0], 0)};
	int s[] = {server, one_end, other_end, stranger, v6, pair[0]};
	for (int round = 0;; round++) {
		give(stranger, ports[0], 1000, 1), give(pair[0], ports[0], 0, 2), give(stranger, ports[0], 20000, 3), give(pair[1], ports[0], 17, 4);
		give(one_end, 0, 500, 5), give(other_end, 0, 600, 6), give(other_end, 0, 601, 7);
		if (v6 >= 0)
			give(v6, ports[4], 700, 8); /* to itself */
		if (!round)
			ready();
		if (!wait_check())
			return 0;
		for (int i = 0; i < 6; i++)
			CHECK(s[i] < 0 || port_of(s[i], 0) == ports[i], "socket %d has port %d, not %d", i, port_of(s[i], 0), ports[i]);
		for (int i = 0; i < NOPT; i++)
			CHECK(opt(server, options[i].level, options[i].name) == was[i], "option %d/%d is %d, was %d", options[i].level, options[i].name, opt(server, options[i].level, options[i].name), was[i]);
		CHECK(port_of(one_end, 1) == ports[2] && port_of(other_end, 1) == ports[1] && port_of(server, 1) == -ENOTCONN, "peers: %d %d %d", port_of(one_end, 1), port_of(other_end, 1), port_of(server, 1));
		CHECK(port_of(pair[1], 0) == ports[5] && opt(pair[1], SOL_SOCKET, SO_REUSEPORT) == 1, "the two on one port");
		CHECK(port_of(fresh, 0) == 0 && h_flags(fresh) == (O_RDWR | O_NONBLOCK) && fcntl(fresh, F_GETFD) == FD_CLOEXEC && h_flags(server) == O_RDWR, "the fresh one");
		expect(server, 1000, 1, ports[3]), expect(server, 0, 2, ports[5]), expect(server, 20000, 3, ports[3]), expect(server, 17, 4, ports[5]);
		expect(other_end, 500, 5, ports[1]), expect(one_end, 600, 6, ports[2]), expect(one_end, 601, 7, ports[2]);
		if (v6 >= 0)
			expect(v6, 700, 8, ports[4]);
		CHECK(silent(server) && silent(one_end) && silent(other_end) && silent(stranger), "more datagrams than were sent");
		give(stranger, ports[1], 9, 9); /* not from its peer: dropped */
		CHECK(silent(one_end), "the connected socket takes a stranger's datagram");
		char c;
		recv(stranger, &c, 1, MSG_DONTWAIT); /* the error that came of it */
		l = local(&a, AF_INET, ports[0]);
		int taken = socket(AF_INET, SOCK_DGRAM, 0);
		CHECK(bind(taken, &a.sa, l) < 0 && errno == EADDRINUSE, "the port is free: %s", strerror(errno));
		close(taken);
	}
}

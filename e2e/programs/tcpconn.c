/*
 * State: established TCP over v4 and v6, both ends in this container: data in both queues, socket options, one half
 * shut down, and a connection that is not yet accepted. (Listening and bound sockets: tcp.c.)
 * Wrong could go: ports, queued bytes lost or doubled, a reset, sequence numbers, keepalive and Nagle settings, window
 * scaling, the end of the stream.
 */
#include "harness.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static char text[200000];
union addr { struct sockaddr sa; struct sockaddr_in v4; struct sockaddr_in6 v6; };
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
static struct option { int level, name, value; } const options[] = {
	{SOL_SOCKET, SO_REUSEADDR, 1},	   {SOL_SOCKET, SO_KEEPALIVE, 1},     {IPPROTO_TCP, TCP_NODELAY, 1},
	{IPPROTO_TCP, TCP_KEEPIDLE, 77},   {IPPROTO_TCP, TCP_KEEPINTVL, 11},  {IPPROTO_TCP, TCP_KEEPCNT, 4},
	{SOL_SOCKET, SO_RCVLOWAT, 3},	   {IPPROTO_TCP, TCP_USER_TIMEOUT, 60000}, {SOL_SOCKET, SO_OOBINLINE, 1},
	{IPPROTO_TCP, TCP_QUICKACK, 1},	   {IPPROTO_IP, IP_TOS, 0x10},	     {SOL_SOCKET, SO_PRIORITY, 4},
	{IPPROTO_TCP, TCP_LINGER2, 20},	   {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 9000},
};
enum { NOPT = sizeof options / sizeof *options };
static void set(int s)
{
	for (int i = 0; i < NOPT; i++)
		setsockopt(s, options[i].level, options[i].name, &options[i].value, sizeof(int));
	struct linger l = {1, 5};
	setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	struct timeval t = {3, 0};
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}
static int opt(int s, int level, int name)
{
	int v = -1;
	socklen_t l = sizeof v;
	getsockopt(s, level, name, &v, &l);
	return v;
}
static void got(int s, const char *who, const int *was)
{
	struct linger l = {0, 0};
	struct timeval t = {0, 0};
	socklen_t n = sizeof l, m = sizeof t;
	for (int i = 0; i < NOPT; i++)
		CHECK(options[i].name == TCP_QUICKACK || opt(s, options[i].level, options[i].name) == was[i], "%s: option %d/%d is %d, was %d", who, options[i].level, options[i].name, opt(s, options[i].level, options[i].name), was[i]);
	CHECK(!getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &n) && l.l_onoff == 1 && l.l_linger == 5, "%s: SO_LINGER", who);
	CHECK(!getsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, &m) && t.tv_sec == 3, "%s: SO_SNDTIMEO", who);
}
static void values(int s, int *was)
{
	for (int i = 0; i < NOPT; i++)
		was[i] = opt(s, options[i].level, options[i].name);
}
static int state(int s)
{
	struct tcp_info i = {0};
	socklen_t l = sizeof i;
	return getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &l) ? -1 : i.tcpi_state;
}
static void put(int s, size_t n, int seed)
{
	fill(text, n, (uint64_t)seed);
	CHECK(send(s, text, n, MSG_DONTWAIT) == (ssize_t)n, "send %d: %s", seed, strerror(errno));
}
static void expect(int s, size_t n, int seed)
{
	size_t off = 0;
	memset(text, 0, n);
	for (ssize_t r; off < n && (r = recv(s, text + off, n - off, 0)) > 0;)
		off += (size_t)r;
	CHECK(off == n && verify(text, n, (uint64_t)seed) < 0, "stream %d: %zu of %zu bytes, or others: %s", seed, off, n, strerror(errno));
	CHECK(recv(s, text, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "stream %d: more bytes than were sent", seed);
}
struct conn { int family, lst, cli, acc, port, cport; int opts[NOPT]; };
static void make(struct conn *c)
{
	union addr a;
	socklen_t l = local(&a, c->family, c->port);
	c->cli = MUST(socket(c->family, SOCK_STREAM, 0));
	set(c->cli);
	values(c->cli, c->opts);
	MUST(connect(c->cli, &a.sa, l));
	c->acc = MUST(accept4(c->lst, NULL, NULL, SOCK_CLOEXEC));
	c->cport = port_of(c->cli, 0);
}

int main(void)
{
	static struct conn conns[] = {{AF_INET, 0, 0, 0, 0, 0, {0}}, {AF_INET6, 0, 0, 0, 0, 0, {0}}, {AF_INET, 0, 0, 0, 0, 0, {0}}};
	union addr a;
	socklen_t l;
	int n = 3, pend;
	h_init();
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < n; i++) {
		struct conn *c = &conns[i];
		c->lst = socket(c->family, SOCK_STREAM, 0);
		l = local(&a, c->family, 0);
		if (c->lst < 0 || bind(c->lst, &a.sa, l)) {
			if (c->family == AF_INET6) { /* no v6 here */
				conns[i--] = conns[--n];
				continue;
			}
			DIE("bind");
		}
		set(c->lst);
		MUST(listen(c->lst, 17));
		c->port = port_of(c->lst, 0);
		make(c);
		put(c->cli, 45000, 100 + i), put(c->acc, 30000, 200 + i);
	}
	pend = MUST(socket(AF_INET, SOCK_STREAM, 0)); /* not yet accepted; with data */
	l = local(&a, AF_INET, conns[0].port);
	MUST(connect(pend, &a.sa, l)), put(pend, 4321, 300);
	int half = n - 1; /* the last one: a half is shut down after its data */
	MUST(shutdown(conns[half].cli, SHUT_WR));
	h_sleep(50 * MS);
	ready();

	while (wait_check()) {
		for (int i = 0; i < n; i++) {
			struct conn *c = &conns[i];
			CHECK(state(c->lst) == TCP_LISTEN && opt(c->lst, SOL_SOCKET, SO_ACCEPTCONN) == 1 && port_of(c->lst, 0) == c->port, "listener %d: state %d port %d", i, state(c->lst), port_of(c->lst, 0));
			got(c->cli, "client", c->opts);
			CHECK(port_of(c->cli, 0) == c->cport && port_of(c->cli, 1) == c->port && port_of(c->acc, 1) == c->cport, "connection %d: ports %d %d", i, port_of(c->cli, 0), port_of(c->cli, 1));
			CHECK(state(c->cli) == (i == half ? TCP_FIN_WAIT2 : TCP_ESTABLISHED) && state(c->acc) == (i == half ? TCP_CLOSE_WAIT : TCP_ESTABLISHED), "connection %d: states %d %d", i, state(c->cli), state(c->acc));
			CHECK(fcntl(c->acc, F_GETFD) == FD_CLOEXEC && fcntl(c->cli, F_GETFD) == 0 && h_flags(c->cli) == O_RDWR, "flags");
			if (i != half) {
				expect(c->acc, 45000, 100 + i), expect(c->cli, 30000, 200 + i);
				put(c->cli, 45000, 100 + i), put(c->acc, 30000, 200 + i);
				continue;
			}
			size_t off = 0;
			for (ssize_t r; (r = recv(c->acc, text + off, sizeof text - off, 0)) > 0;)
				off += (size_t)r;
			CHECK(off == 45000 && verify(text, off, 100 + (uint64_t)i) < 0, "the half that was shut down: %zu bytes, then %s", off, strerror(errno));
			expect(c->cli, 30000, 200 + i);
			put(c->acc, 100, 400), expect(c->cli, 100, 400); /* the other half still works */
			close(c->acc), close(c->cli);
			make(c);
			put(c->cli, 45000, 100 + i), put(c->acc, 30000, 200 + i), shutdown(c->cli, SHUT_WR);
		}
		struct pollfd p = {conns[0].lst, POLLIN, 0};
		int s = poll(&p, 1, 1000) == 1 ? accept(conns[0].lst, NULL, NULL) : -1;
		CHECK(s >= 0, "the connection that waits to be accepted is lost");
		if (s >= 0) {
			expect(s, 4321, 300), put(s, 10, 301), expect(pend, 10, 301);
			close(s);
		}
		close(pend), pend = MUST(socket(AF_INET, SOCK_STREAM, 0)), l = local(&a, AF_INET, conns[0].port);
		CHECK(!connect(pend, &a.sa, l), "a new connection: %s", strerror(errno));
		put(pend, 4321, 300);
		h_sleep(50 * MS);
	}
	return 0;
}

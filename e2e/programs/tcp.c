/*
 * State: TCP sockets that are not connected, over v4 and v6: listening with options and backlogs, two listening on one
 * port, on all addresses, V6ONLY, a device's; bound only; fresh ones. (Connections: tcpconn.c.)
 * Wrong could go: the port, options (those that accepted connections inherit show there), the backlog, the order of
 * binding when several share a port, a bound socket that listens now.
 */
#include "harness.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

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
static int on(int family, int port, int any, int flags)
{
	union addr a;
	socklen_t l = local(&a, family, port);
	int s = socket(family, SOCK_STREAM | flags, 0), one = 1;
	if (s < 0)
		return -1;
	if (any && family == AF_INET)
		a.v4.sin_addr.s_addr = INADDR_ANY;
	if (any && family == AF_INET6)
		a.v6.sin6_addr = in6addr_any, setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (any)
		setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	return bind(s, &a.sa, l) ? close(s), -1 : s;
}
/* waiting and backlog, which tcp_info tells of a listener */
static int info(int s, int *backlog)
{
	struct tcp_info i = {0};
	socklen_t l = sizeof i;
	getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &l);
	*backlog = (int)i.tcpi_sacked;
	return (int)i.tcpi_unacked;
}

int main(void)
{
	enum { V4, V6, ANY4, SECOND, ANY6, BOUND, BOUND6, FRESH, N };
	static const int family[N] = {AF_INET, AF_INET6, AF_INET, AF_INET, AF_INET6, AF_INET, AF_INET6, AF_INET};
	static const int backlog[N] = {17, 5, 1, 9, 128, -1, -1, -1};
	static int s[N], port[N], was[N][NOPT], v6only[N], defer;
	union addr a;
	socklen_t l;
	char buf[8];
	h_init();
	for (int i = 0; i < N; i++) {
		if (i == FRESH)
			s[i] = MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		else
			s[i] = on(family[i], i == SECOND ? port[ANY4] : i == ANY6 ? port[ANY4] : 0, i >= ANY4 && i <= ANY6, i == ANY4 ? SOCK_NONBLOCK : 0);
		if (s[i] < 0 && family[i] == AF_INET)
			DIE("socket %d", i);
		if (s[i] < 0)
			continue; /* no v6 here */
		if (i == V4 || i == V6 || i == BOUND)
			set(s[i]);
		if (i == V4) {
			defer = 5;
			MUST(setsockopt(s[i], IPPROTO_TCP, TCP_FASTOPEN, &(int){7}, sizeof(int)));
			MUST(setsockopt(s[i], SOL_SOCKET, SO_RCVBUF, &(int){50000}, sizeof(int)));
			MUST(setsockopt(s[i], IPPROTO_TCP, TCP_MAXSEG, &(int){1000}, sizeof(int)));
			MUST(setsockopt(s[i], IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer));
			defer = opt(s[i], IPPROTO_TCP, TCP_DEFER_ACCEPT);
		}
		values(s[i], was[i]);
		v6only[i] = opt(s[i], IPPROTO_IPV6, IPV6_V6ONLY); /* a bind to one address sets it */
		port[i] = port_of(s[i], 0);
		if (backlog[i] > 0)
			MUST(listen(s[i], backlog[i]));
	}
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			if (s[i] < 0)
				continue;
			int log = 0, queued = info(s[i], &log);
			CHECK(port_of(s[i], 0) == port[i] && port_of(s[i], 1) == -ENOTCONN, "socket %d: port %d, not %d", i, port_of(s[i], 0), port[i]);
			CHECK(state(s[i]) == (backlog[i] > 0 ? TCP_LISTEN : TCP_CLOSE) && opt(s[i], SOL_SOCKET, SO_ACCEPTCONN) == (backlog[i] > 0), "socket %d: state %d", i, state(s[i]));
			CHECK(backlog[i] < 0 || (log == backlog[i] && queued == 0), "socket %d: backlog %d of %d, not %d", i, queued, log, backlog[i]);
			CHECK(h_flags(s[i]) == (O_RDWR | (i == ANY4 ? O_NONBLOCK : 0)) && fcntl(s[i], F_GETFD) == (i == FRESH ? FD_CLOEXEC : 0), "socket %d: flags", i);
			CHECK(opt(s[i], SOL_SOCKET, SO_REUSEPORT) == (i >= ANY4 && i <= ANY6), "socket %d: SO_REUSEPORT", i);
			CHECK(family[i] == AF_INET || opt(s[i], IPPROTO_IPV6, IPV6_V6ONLY) == v6only[i], "socket %d: V6ONLY", i);
			if (i == V4 || i == V6 || i == BOUND)
				got(s[i], i == BOUND ? "bound" : "listener", was[i]);
			CHECK(opt(s[i], SOL_SOCKET, SO_DOMAIN) == family[i] && opt(s[i], SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP, "socket %d: family", i);
			if (backlog[i] < 0)
				continue;
			int c = socket(family[i], SOCK_STREAM, 0); /* does it accept? */
			l = local(&a, family[i], port[i]);
			CHECK(!connect(c, &a.sa, l) && write(c, "x", 1) == 1, "socket %d: connect: %s", i, strerror(errno));
			struct pollfd p[2] = {{s[i], POLLIN, 0}, {i == ANY4 ? s[SECOND] : i == SECOND ? s[ANY4] : -1, POLLIN, 0}};
			CHECK(poll(p, 2, 5000) >= 1, "socket %d: nothing to accept", i);
			int acc = accept(p[0].revents ? s[i] : p[1].fd, NULL, NULL);
			CHECK(acc >= 0 && read(acc, buf, 1) == 1 && buf[0] == 'x', "socket %d: accept: %s", i, strerror(errno));
			if (i == V4 || i == V6)
				CHECK(opt(acc, IPPROTO_TCP, TCP_NODELAY) == 1 && opt(acc, IPPROTO_TCP, TCP_KEEPIDLE) == 77, "socket %d: what accepted ones inherit", i);
			struct linger abort = {1, 0}; /* no TIME_WAIT is left */
			setsockopt(c, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
			close(c), close(acc);
		}
		CHECK(opt(s[V4], SOL_SOCKET, SO_RCVBUF) == 100000 && opt(s[V4], IPPROTO_TCP, TCP_DEFER_ACCEPT) == defer && opt(s[V4], IPPROTO_TCP, TCP_FASTOPEN) == 7,
		      "SO_RCVBUF %d, TCP_DEFER_ACCEPT %d, TCP_FASTOPEN %d", opt(s[V4], SOL_SOCKET, SO_RCVBUF), opt(s[V4], IPPROTO_TCP, TCP_DEFER_ACCEPT), opt(s[V4], IPPROTO_TCP, TCP_FASTOPEN));
		/* the bound one has its port still for itself, and can listen */
		CHECK(on(AF_INET, port[BOUND], 0, 0) < 0 && errno == EADDRINUSE, "the bound one's port is free: %s", strerror(errno));
		CHECK(!listen(s[BOUND], 3) && state(s[BOUND]) == TCP_LISTEN, "the bound one cannot listen: %s", strerror(errno));
		int fresh = socket(AF_INET, SOCK_STREAM, 0);
		close(s[BOUND]);
		l = local(&a, AF_INET, port[BOUND]);
		CHECK(fresh >= 0 && dup2(fresh, s[BOUND]) >= 0 && !close(fresh) && (set(s[BOUND]), !bind(s[BOUND], &a.sa, l)), "bind again: %s", strerror(errno));
	}
	return 0;
}

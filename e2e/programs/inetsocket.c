/*
 * State: what tcp.c, tcpconn.c and udp.c do not have: multicast groups with filters of sources, raw and ping sockets, UDP-Lite,
 * packet filters, a port that several UDP sockets share with datagrams at each, destinations of queued datagrams,
 * directions shut down, an end of a connection that is in flight in a unix socket, dead connections with data, one whose other end was
 * closed.
 * Wrong could go: a group or its filter, which socket of several gets a datagram, what is left to read of a connection.
 */
#include "harness.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif
static struct sockaddr_in lo(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static int port_of(int s)
{
	struct sockaddr_in a = {0};
	socklen_t l = sizeof a;
	return getsockname(s, (struct sockaddr *)&a, &l) ? -errno : ntohs(a.sin_port);
}
static int opt(int s, int level, int name)
{
	int v = -1;
	socklen_t l = sizeof v;
	getsockopt(s, level, name, &v, &l);
	return v;
}
static int state(int s)
{
	struct tcp_info i = {0};
	socklen_t l = sizeof i;
	return getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &l) ? -1 : i.tcpi_state;
}
static int udp(int protocol, int any)
{
	struct sockaddr_in a = lo(0);
	int s = socket(AF_INET, SOCK_DGRAM, protocol);
	if (any)
		a.sin_addr.s_addr = INADDR_ANY;
	return s < 0 ? -1 : bind(s, (struct sockaddr *)&a, sizeof a) ? close(s), -1 : s;
}
static void send_to(int s, int port, const char *text)
{
	struct sockaddr_in a = lo(port);
	CHECK(sendto(s, text, strlen(text), 0, (struct sockaddr *)&a, sizeof a) == (ssize_t)strlen(text), "send %s: %s", text, strerror(errno));
}
static void receive(int s, const char *want, int from)
{
	char buf[200] = {0};
	struct sockaddr_in a = {0};
	socklen_t l = sizeof a;
	ssize_t n = recvfrom(s, buf, sizeof buf - 1, MSG_DONTWAIT, (struct sockaddr *)&a, &l);
	CHECK(n == (ssize_t)strlen(want) && !strcmp(buf, want), "received %zd \"%s\", want \"%s\"", n, buf, want);
	CHECK(n < 0 || ntohs(a.sin_port) == from, "\"%s\" came from port %d, not %d", want, ntohs(a.sin_port), from);
}
/* members of groups: any source but one, and only one source */
static int groups(int s)
{
	struct group_req join = {.gr_interface = if_nametoindex("lo")};
	struct sockaddr_in *g = (struct sockaddr_in *)&join.gr_group;
	*g = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("239.1.2.3")};
	struct group_source_req one = {.gsr_interface = join.gr_interface};
	if (setsockopt(s, IPPROTO_IP, MCAST_JOIN_GROUP, &join, sizeof join))
		return -1;
	memcpy(&one.gsr_group, &join.gr_group, sizeof one.gsr_group);
	*(struct sockaddr_in *)&one.gsr_source = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("192.0.2.1")};
	MUST(setsockopt(s, IPPROTO_IP, MCAST_BLOCK_SOURCE, &one, sizeof one));
	((struct sockaddr_in *)&one.gsr_group)->sin_addr.s_addr = inet_addr("239.9.9.9");
	return MUST(setsockopt(s, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &one, sizeof one));
}
static void check_group(int s, const char *group, unsigned mode)
{
	char buf[GROUP_FILTER_SIZE(4)] = {0};
	struct group_filter *f = (struct group_filter *)buf;
	socklen_t l = sizeof buf;
	f->gf_interface = if_nametoindex("lo");
	*(struct sockaddr_in *)&f->gf_group = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(group)};
	f->gf_numsrc = 4;
	int r = getsockopt(s, IPPROTO_IP, MCAST_MSFILTER, buf, &l);
	CHECK(!r && f->gf_fmode == mode && f->gf_numsrc == 1 && ((struct sockaddr_in *)&f->gf_slist[0])->sin_addr.s_addr == inet_addr("192.0.2.1"),
	      "group %s: %s, mode %u, %u sources", group, r ? strerror(errno) : "", f->gf_fmode, f->gf_numsrc);
}
static int server, server_port;
static void pair(int *a, int *b)
{
	struct sockaddr_in at = lo(server_port);
	*a = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(connect(*a, (struct sockaddr *)&at, sizeof at));
	*b = MUST(accept(server, NULL, NULL));
}
/* one descriptor through a unix socket */
static void fly(int through, int fd)
{
	char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	CHECK(sendmsg(through, &m, 0) == 1, "send descriptor: %s", strerror(errno));
	close(fd);
}
static int land(int from)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	int fd = -1;
	if (recvmsg(from, &m, MSG_DONTWAIT) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}
static int dead_data, dead, half, half_data;
static void make_dead(void)
{
	int other;
	struct linger abort = {1, 0};
	/* both ends ended: nothing is left but the descriptor */
	pair(&dead, &other);
	close(other);
	shutdown(dead, SHUT_WR);
	/* data, then the end from both sides */
	pair(&dead_data, &other);
	MUST(send(other, "the rest", 8, 0));
	close(other);
	shutdown(dead_data, SHUT_WR);
	/* the other end was closed, with data before */
	pair(&half_data, &other);
	MUST(send(other, "before the end", 14, 0));
	close(other);
	pair(&half, &other);
	close(other);
	(void)abort;
	h_sleep(100 * MS);
}

int main(void)
{
	static struct sock_filter pass[] = {BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
	static struct sock_fprog prog = {1, pass};
	struct icmp6_filter f6, g6;
	int one = 1, icmp = 1 << 8, v;
	socklen_t l;
	h_init();
	int lite = udp(IPPROTO_UDPLITE, 0), lite_port = lite < 0 ? 0 : port_of(lite), sender = MUST(udp(0, 0)), from = port_of(sender);
	int any = MUST(udp(0, 1)), group = MUST(udp(0, 1)), joined = groups(group);
	MUST(setsockopt(any, IPPROTO_IP, IP_PKTINFO, &one, sizeof one));
	MUST(setsockopt(any, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog));
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), raw6 = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), ping = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	if (raw >= 0)
		MUST(setsockopt(raw, SOL_RAW, ICMP_FILTER, &icmp, sizeof icmp));
	ICMP6_FILTER_SETBLOCKALL(&f6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f6);
	if (raw6 >= 0)
		MUST(setsockopt(raw6, IPPROTO_ICMPV6, ICMP6_FILTER, &f6, sizeof f6));
	int share[3], shared = 0;
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in a = lo(shared);
		share[i] = MUST(socket(AF_INET, SOCK_DGRAM, 0));
		MUST(setsockopt(share[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one));
		MUST(bind(share[i], (struct sockaddr *)&a, sizeof a));
		shared = port_of(share[i]);
	}
	/* one that is connected and can send no more */
	int muted = MUST(udp(0, 0)), muted_port = port_of(muted);
	struct sockaddr_in to = lo(from);
	MUST(connect(muted, (struct sockaddr *)&to, sizeof to));
	MUST(shutdown(muted, SHUT_WR));
	struct sockaddr_in at = lo(0);
	server = MUST(socket(AF_INET, SOCK_STREAM, 0));
	MUST(bind(server, (struct sockaddr *)&at, sizeof at));
	server_port = port_of(server);
	MUST(listen(server, 10));
	make_dead();
	int air[2], ground, flyer;
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, air));
	pair(&ground, &flyer);
	MUST(send(flyer, "down", 4, 0)), MUST(send(ground, "up", 2, 0));
	int idle = MUST(socket(AF_INET, SOCK_STREAM, 0)); /* shut down without ever being connected */
	shutdown(idle, SHUT_RDWR);
	signal(SIGPIPE, SIG_IGN);
	int counts[3] = {0};
	for (int round = 0;; round++) {
		/* what waits to be read; which of the three gets one the kernel decides */
		fly(air[0], flyer);
		if (lite >= 0) {
			int s = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
			struct sockaddr_in a = lo(from);
			CHECK(!bind(s, (struct sockaddr *)&a, sizeof a), "bind: %s", strerror(errno));
			send_to(s, lite_port, "lite");
			close(s);
		}
		struct sockaddr_in other = lo(port_of(any));
		other.sin_addr.s_addr = inet_addr("127.1.2.3");
		CHECK(sendto(sender, "where to", 8, 0, (struct sockaddr *)&other, sizeof other) == 8, "send: %s", strerror(errno));
		for (int i = 0; i < 12; i++) {
			int s = udp(0, 0);
			send_to(s, shared, "shared");
			close(s);
		}
		memset(counts, 0, sizeof counts);
		for (int i = 0; i < 3; i++)
			for (char b[8]; counts[i] < 12 && recv(share[i], b, 8, MSG_PEEK | MSG_DONTWAIT) > 0;) {
				/* counted below; one look is enough to see that it is not empty */
				counts[i] = 1;
				break;
			}
		if (round == 0)
			ready();
		if (!wait_check())
			return 0;

		if (lite >= 0) {
			CHECK(opt(lite, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE && port_of(lite) == lite_port, "UDP-Lite: protocol, port");
			receive(lite, "lite", from);
		}
		char control[200], text[20] = {0};
		struct iovec iov = {text, sizeof text - 1};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		ssize_t n = recvmsg(any, &m, MSG_DONTWAIT);
		struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
		CHECK(n == 8 && !strcmp(text, "where to") && c && c->cmsg_type == IP_PKTINFO && ((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr.s_addr == inet_addr("127.1.2.3"),
		      "the destination of a datagram: %zd %s", n, text);
		struct sock_filter got[4];
		l = 0;
		CHECK(!getsockopt(any, SOL_SOCKET, SO_ATTACH_FILTER, NULL, &l) && l == 1 && !getsockopt(any, SOL_SOCKET, SO_ATTACH_FILTER, got, (l = 4, &l)) && got[0].k == 0xffffffff, "the packet filter");
		if (!joined) {
			check_group(group, "239.1.2.3", MCAST_EXCLUDE);
			check_group(group, "239.9.9.9", MCAST_INCLUDE);
		}
		l = sizeof v;
		CHECK(raw < 0 || (!getsockopt(raw, SOL_RAW, ICMP_FILTER, &v, &l) && v == icmp && opt(raw, SOL_SOCKET, SO_TYPE) == SOCK_RAW), "ICMP_FILTER");
		l = sizeof g6;
		CHECK(raw6 < 0 || (!getsockopt(raw6, IPPROTO_ICMPV6, ICMP6_FILTER, &g6, &l) && !memcmp(&f6, &g6, sizeof f6)), "ICMP6_FILTER");
		CHECK(ping < 0 || opt(ping, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP, "ping socket");
		int sum = 0;
		for (int i = 0; i < 3; i++) {
			char b[8];
			int k = 0;
			while (recv(share[i], b, 8, MSG_DONTWAIT) == 6)
				k++;
			CHECK((k > 0) == (counts[i] > 0), "socket %d of a shared port: %d datagrams", i, k);
			CHECK(port_of(share[i]) == shared, "shared port");
			sum += k;
		}
		CHECK(sum == 12, "%d datagrams at the shared port", sum);
		CHECK(send(muted, "x", 1, 0) < 0 && errno == EPIPE && port_of(muted) == muted_port, "a socket that can send no more: %s", strerror(errno));
		send_to(sender, muted_port, "still heard");
		receive(muted, "still heard", from);

		char b[20] = {0};
		flyer = land(air[1]);
		CHECK(flyer >= 0 && recv(flyer, b, 20, MSG_DONTWAIT) == 2 && recv(ground, b, 20, MSG_DONTWAIT) == 4, "connection in flight: %s", strerror(errno));
		CHECK(send(flyer, "down", 4, 0) == 4 && send(ground, "up", 2, 0) == 2, "connection in flight: %s", strerror(errno));
		CHECK(state(dead) == TCP_CLOSE && read(dead, b, 20) == 0 && write(dead, b, 1) < 0 && errno == EPIPE, "dead connection: state %d", state(dead));
		CHECK(state(dead_data) == TCP_CLOSE && recv(dead_data, b, 20, MSG_DONTWAIT) == 8 && !strncmp(b, "the rest", 8) && recv(dead_data, b, 20, MSG_DONTWAIT) == 0, "dead connection with data: state %d, %s", state(dead_data), b);
		CHECK(state(half_data) == TCP_CLOSE_WAIT && recv(half_data, b, 20, MSG_DONTWAIT) == 14 && !strncmp(b, "before the end", 14) && recv(half_data, b, 20, MSG_DONTWAIT) == 0, "half a connection with data: state %d, %s", state(half_data), b);
		CHECK(state(half) == TCP_CLOSE_WAIT && recv(half, b, 20, MSG_DONTWAIT) == 0, "half a connection: state %d", state(half));
		CHECK(state(idle) == TCP_CLOSE && read(idle, b, 20) == 0, "one that was never connected: %s", strerror(errno));
		close(dead), close(dead_data), close(half), close(half_data);
		make_dead();
	}
}

/*
 * State: netlink sockets: bound to a number of choice, to one of the kernel's, not bound; in groups below and above 32;
 * connected; with options; of several protocols; one that is shared with a child.
 * Wrong could go: another number (programs compare it with that of answers), a group lost, so that a change is never heard
 * of, an option lost, so that the kernel checks less or answers otherwise.
 */
#include "harness.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#define PORT 0x7fabcdef

static int bound, chosen, idle, far, events, generic;

static int open_socket(int protocol, int type) { return MUST(socket(AF_NETLINK, type | SOCK_CLOEXEC, protocol)); }
static void set(int fd, int option, int value) { MUST(setsockopt(fd, SOL_NETLINK, option, &value, sizeof value)); }
static int get(int fd, int option)
{
	int value = -1;
	socklen_t n = sizeof value;
	CHECK(!getsockopt(fd, SOL_NETLINK, option, &value, &n), "option %d: %s", option, strerror(errno));
	return value;
}
static struct sockaddr_nl name(int fd, int (*of)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_nl a = {0};
	socklen_t n = sizeof a;
	CHECK(!of(fd, (struct sockaddr *)&a, &n), "name of a socket: %s", strerror(errno));
	return a;
}
static int member(int fd, int group)
{
	uint32_t words[4] = {0};
	socklen_t n = sizeof words;
	CHECK(!getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &n), "memberships: %s", strerror(errno));
	return words[(group - 1) / 32] >> (group - 1) % 32 & 1;
}
/* links asks for the interfaces and returns how many answers name this socket's number. */
static int links(int fd, uint32_t port)
{
	static unsigned seq;
	struct { struct nlmsghdr h; struct ifinfomsg m; } ask = {.h = {sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, ++seq, 0}};
	_Alignas(8) char buf[16384];
	int seen = 0;
	CHECK(send(fd, &ask, sizeof ask, 0) == sizeof ask, "ask for links: %s", strerror(errno));
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof buf, 0);
		CHECK(n > 0, "answer: %s", strerror(errno));
		if (n <= 0)
			return -1;
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			CHECK(h->nlmsg_seq == seq && h->nlmsg_pid == port, "an answer to %u of %u, asked was %u of %u", h->nlmsg_pid, h->nlmsg_seq, port, seq);
			if (h->nlmsg_type == NLMSG_DONE)
				return seen;
			seen += h->nlmsg_type == RTM_NEWLINK;
		}
	}
}

int main(void)
{
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_pid = PORT, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR};
	h_init();
	bound = open_socket(NETLINK_ROUTE, SOCK_RAW);
	MUST(bind(bound, (struct sockaddr *)&a, sizeof a));
	set(bound, NETLINK_ADD_MEMBERSHIP, RTNLGRP_NSID), set(bound, NETLINK_ADD_MEMBERSHIP, 33 /* above the first word */);
	set(bound, NETLINK_EXT_ACK, 1), set(bound, NETLINK_CAP_ACK, 1), set(bound, NETLINK_GET_STRICT_CHK, 1), set(bound, NETLINK_PKTINFO, 1);
	MUST(setsockopt(bound, SOL_SOCKET, SO_RCVBUF, &(int){32768}, sizeof(int)));
	chosen = open_socket(NETLINK_ROUTE, SOCK_DGRAM);
	a = (struct sockaddr_nl){.nl_family = AF_NETLINK};
	MUST(bind(chosen, (struct sockaddr *)&a, sizeof a));
	uint32_t number = name(chosen, getsockname).nl_pid;
	idle = open_socket(NETLINK_ROUTE, SOCK_RAW);
	MUST(fcntl(idle, F_SETFL, O_NONBLOCK));
	far = open_socket(NETLINK_ROUTE, SOCK_RAW);
	a.nl_pid = PORT;
	if (connect(far, (struct sockaddr *)&a, sizeof a) < 0 && errno != EPERM)
		DIE("connect");
	events = open_socket(NETLINK_KOBJECT_UEVENT, SOCK_RAW);
	a = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_groups = 1};
	MUST(bind(events, (struct sockaddr *)&a, sizeof a));
	generic = open_socket(NETLINK_GENERIC, SOCK_RAW);
	set(generic, NETLINK_NO_ENOBUFS, 1), set(generic, NETLINK_BROADCAST_ERROR, 1);
	struct sockaddr_nl far_peer = name(far, getpeername);
	uint32_t far_name = name(far, getsockname).nl_pid, heard = name(events, getsockname).nl_pid;
	if (!MUST(fork())) {
		h_part("child");
		while (wait_check())
			CHECK(name(bound, getsockname).nl_pid == PORT, "the shared socket is %x", name(bound, getsockname).nl_pid);
		_exit(0);
	}
	ready();
	while (wait_check()) {
		CHECK(name(bound, getsockname).nl_pid == PORT && name(chosen, getsockname).nl_pid == number && number, "numbers %x and %u, not %u", name(bound, getsockname).nl_pid, name(chosen, getsockname).nl_pid, number);
		CHECK(name(idle, getsockname).nl_pid == 0 && h_flags(idle) == (O_RDWR | O_NONBLOCK), "the socket that is not bound is %u", name(idle, getsockname).nl_pid);
		CHECK(name(far, getpeername).nl_pid == far_peer.nl_pid && name(far, getsockname).nl_pid == far_name, "connected to %x", name(far, getpeername).nl_pid);
		CHECK(name(events, getsockname).nl_pid == heard && member(events, 1), "the socket of events is %u", name(events, getsockname).nl_pid);
		CHECK(member(bound, RTNLGRP_LINK) && member(bound, RTNLGRP_IPV4_IFADDR) && member(bound, RTNLGRP_NSID) && member(bound, 33) && !member(bound, RTNLGRP_NEIGH), "groups of the bound socket");
		CHECK(!member(chosen, RTNLGRP_LINK) && !member(idle, RTNLGRP_LINK), "groups that nobody has joined");
		CHECK(get(bound, NETLINK_EXT_ACK) == 1 && get(bound, NETLINK_CAP_ACK) == 1 && get(bound, NETLINK_GET_STRICT_CHK) == 1 && get(bound, NETLINK_PKTINFO) == 1, "options of the bound socket");
		CHECK(get(chosen, NETLINK_EXT_ACK) == 0 && get(generic, NETLINK_NO_ENOBUFS) == 1 && get(generic, NETLINK_BROADCAST_ERROR) == 1, "options of the others");
		CHECK(links(bound, PORT) >= 1 && links(chosen, number) >= 1, "no interface is listed");
		h_collect("child");
	}
	return 0;
}

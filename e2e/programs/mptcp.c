/*
 * State: a connection of multipath TCP, both ends here. It cannot be saved, and must be refused by name. (Sockets of it
 * that only listen are saved: goserver has one.)
 */
#include "harness.h"
#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t l = sizeof a;
	char b[2];
	int s = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), c = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (s < 0 || c < 0)
		SKIP("no multipath TCP");
	MUST(bind(s, (struct sockaddr *)&a, l)), MUST(listen(s, 1)), MUST(getsockname(s, (struct sockaddr *)&a, &l));
	MUST(connect(c, (struct sockaddr *)&a, l));
	int t = MUST(accept(s, NULL, NULL));
	ready();
	while (wait_check())
		CHECK(send(c, "x", 1, 0) == 1 && recv(t, b, 2, 0) == 1 && send(t, "y", 1, 0) == 1 && recv(c, b, 2, 0) == 1, "connection: %s", strerror(errno));
	return 0;
}

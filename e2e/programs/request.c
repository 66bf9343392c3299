/*
 * State: a program that asks for its own checkpoint at /run/rethaw.sock and waits for the answer in a read.
 * Wrong could go: the connection to the outside refused; the copy hearing nothing, or "resumed" like the original; the
 * answer cut; the descriptor's flags lost.
 *
 * Each check asks once, and writes what it heard into answer.N. It runs where the hook has mounted the socket.
 */
#include "harness.h"
#include <sys/socket.h>
#include <sys/un.h>

static const struct sockaddr_un at = {AF_UNIX, "/run/rethaw.sock"};
static char heard[1 << 20];

/* ask sends one request and reads the answer to its end. Some clients say at once that nothing more comes. */
static void ask(const char *request, int half_close)
{
	int fd = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	size_t have = 0;
	ssize_t n;
	int flags = h_flags(fd);
	MUST(connect(fd, (const void *)&at, sizeof at));
	MUST(send(fd, request, strlen(request), MSG_NOSIGNAL));
	if (half_close)
		MUST(shutdown(fd, SHUT_WR));
	while ((n = read(fd, heard + have, sizeof heard - 1 - have)) > 0)
		have += (size_t)n;
	heard[have] = 0;
	CHECK(n == 0, "reading the answer: %s", strerror(errno));
	CHECK(have && heard[have - 1] == '\n', "the answer is no line: %.100s", heard);
	CHECK(h_flags(fd) == flags, "the flags were %o and are %o", flags, h_flags(fd));
	if (half_close)
		CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "the end that was shut down takes more");
	close(fd);
}

int main(int argc, char **argv)
{
	char name[64];
	struct stat st;
	if (stat(at.sun_path, &st) < 0)
		SKIP("the hook has mounted no %s", at.sun_path);
	if (!S_ISSOCK(st.st_mode) || access(at.sun_path, W_OK) < 0)
		DIE("%s is no socket that we may use", at.sun_path);
	h_setup();
	ready();
	while (wait_check()) {
		ask(argc > 1 ? argv[1] : "{\"checkpoint\":{}}\n", h.check % 2);
		snprintf(name, sizeof name, "answer.%d", h.check);
		h_write(name, heard);
	}
	return 0;
}

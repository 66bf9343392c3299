/*
 * State: unix sockets: pairs of the three kinds with queued data in both directions, halves shut down, a peer that is
 * gone with data still to be read, options; listening by path and by abstract name with accepted connections and
 * with one not yet accepted that has sent data; bound and connected datagram sockets; names and peer credentials.
 * Wrong could go: message boundaries, sender names of queued datagrams, EOF after the data, the backlog, a socket file
 * made anew over a renamed one, SO_PEERCRED of the restorer, SO_PASSCRED, buffers.
 */
#include "harness.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static char base[90], text[70000];
static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
static const char *const kind_names[] = {"stream", "dgram", "seqpacket"};

static socklen_t name(struct sockaddr_un *a, const char *n, int abstract)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	int len = snprintf(a->sun_path + abstract, sizeof a->sun_path - 1, "%s%s%s", abstract ? base + 5 : base, abstract ? "" : "/", n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + 1);
}
static int bound(int type, const char *n, int abstract)
{
	struct sockaddr_un a;
	socklen_t l = name(&a, n, abstract);
	int s = MUST(socket(AF_UNIX, type, 0));
	MUST(bind(s, (void *)&a, l));
	return s;
}
static int conn(int s, const char *n, int abstract)
{
	struct sockaddr_un a;
	return connect(s, (void *)&a, name(&a, n, abstract));
}
static void named(int s, const char *n, int abstract, int peer)
{
	struct sockaddr_un want, got = {0};
	socklen_t l = n ? name(&want, n, abstract) : 2, gl = sizeof got;
	CHECK(!(peer ? getpeername : getsockname)(s, (void *)&got, &gl) && gl == l && (!n || !memcmp(&want, &got, l)), "%s of %s has %d bytes: %s", peer ? "peer name" : "name", n ? n : "(none)", (int)gl, got.sun_path + abstract);
}
static void put(int s, size_t n, int seed)
{
	fill(text, n, (uint64_t)seed);
	CHECK(send(s, text, n, MSG_DONTWAIT) == (ssize_t)n, "send %d: %s", seed, strerror(errno));
}
static void expect(int s, size_t n, int seed)
{
	memset(text, 0, n + 1);
	ssize_t r = recv(s, text, n + 1, MSG_DONTWAIT | (seed < 0 ? MSG_PEEK : 0)); /* one more: a boundary, or the queue's end */
	CHECK(r == (ssize_t)n && verify(text, n, (uint64_t)seed) < 0, "message %d: %zd bytes, or others than the %zu sent", seed, r, n);
}
static int silent(int s)
{
	char c;
	return recv(s, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}
static int opt(int s, int o)
{
	int v = -1;
	socklen_t l = sizeof v;
	getsockopt(s, SOL_SOCKET, o, &v, &l);
	return v;
}
static int events(int s)
{
	struct pollfd p = {s, POLLIN | POLLOUT | POLLRDHUP, 0};
	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}
static void fill_pair(const int *p, int k)
{
	for (int d = 0; d < 2; d++) {
		put(p[d], 1000, 10 * k + d);
		if (k) /* boundaries: an empty one among them */
			put(p[d], 0, 1), put(p[d], 20000, 100 + 10 * k + d);
	}
}

int main(void)
{
	int pair[3][2], half[2], gone[2], acc[2], cli[2], dg[5], pend, child[2];
	const int one = 1;
	struct stat st;
	h_init();
	signal(SIGPIPE, SIG_IGN);
	snprintf(base, sizeof base, "/tmp/unix.%d", getpid());
	MUST(mkdir(base, 0755));
	for (int k = 0; k < 3; k++) {
		MUST(socketpair(AF_UNIX, kinds[k] | (k == 1 ? SOCK_NONBLOCK : 0) | (k == 2 ? SOCK_CLOEXEC : 0), 0, pair[k]));
		if (k == 2) /* such a socket gets a name of the kernel's choice when it sends */
			MUST(setsockopt(pair[2][0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
		fill_pair(pair[k], k);
	}
	struct sockaddr_un chosen = {0};
	socklen_t chosen_len = sizeof chosen;
	MUST(getsockname(pair[2][0], (void *)&chosen, &chosen_len));
	MUST(setsockopt(pair[0][1], SOL_SOCKET, SO_SNDBUF, &(int){100000}, sizeof(int)));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, half)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, gone)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, child));
	put(half[0], 3000, 50), MUST(shutdown(half[0], SHUT_WR));
	put(gone[0], 400, 51), close(gone[0]);

	int lst = bound(SOCK_STREAM, "listen", 0), abs = bound(SOCK_SEQPACKET, "abstract", 1);
	snprintf(text, sizeof text, "%s/listen", base), MUST(chmod(text, 0711));
	MUST(listen(lst, 3)), MUST(listen(abs, 7));
	cli[0] = bound(SOCK_STREAM, "client", 0), cli[1] = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
	MUST(conn(cli[0], "listen", 0)), MUST(conn(cli[1], "abstract", 1));
	acc[0] = MUST(accept4(lst, NULL, NULL, SOCK_NONBLOCK)), acc[1] = MUST(accept(abs, NULL, NULL));
	put(cli[0], 600, 60), put(acc[0], 700, 61), put(cli[1], 800, 62), put(acc[1], 900, 63);
	pend = MUST(socket(AF_UNIX, SOCK_STREAM, 0)); /* connected, but not yet accepted */
	MUST(conn(pend, "listen", 0)), put(pend, 123, 64);
	dg[0] = bound(SOCK_DGRAM, "server", 0), dg[1] = bound(SOCK_DGRAM, "sender", 0), dg[2] = bound(SOCK_DGRAM, "dgabs", 1), dg[3] = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), dg[4] = bound(SOCK_DGRAM, "dgabs2", 1);
	MUST(conn(dg[1], "server", 0)), MUST(conn(dg[2], "server", 0)), MUST(conn(dg[3], "dgabs2", 1));
	put(dg[1], 333, 70), put(dg[2], 334, 71), put(dg[3], 335, 72);
	int lonely = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), noname = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
	int lost = bound(SOCK_DGRAM, "unlinked", 0);
	snprintf(text, sizeof text, "%s/unlinked", base), MUST(unlink(text));
	struct ucred cred, want = {getpid(), getuid(), getgid()};
	if (!MUST(fork())) { /* has the other end of a pair, and all the rest in common */
		close(child[0]);
		for (char c; read(child[1], &c, 1) == 1 && c != 'q'; c++)
			if (write(child[1], &(char){(char)(c + 1)}, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(child[1]);
	ready();

	while (wait_check()) {
		for (int k = 0; k < 3; k++)
			for (int d = 0; d < 2; d++) {
				int s = pair[k][d];
				CHECK(opt(s, SO_TYPE) == kinds[k] && opt(s, SO_ACCEPTCONN) == 0 && opt(s, SO_ERROR) == 0, "%s: type %d", kind_names[k], opt(s, SO_TYPE));
				CHECK(h_flags(s) == (O_RDWR | (k == 1 ? O_NONBLOCK : 0)) && fcntl(s, F_GETFD) == (k == 2 ? FD_CLOEXEC : 0), "%s: flags", kind_names[k]);
				CHECK(opt(s, SO_PASSCRED) == (k == 2 && d == 0), "%s: SO_PASSCRED", kind_names[k]);
				expect(s, 1000, 10 * k + 1 - d);
				if (k)
					expect(s, 0, 1), expect(s, 20000, 100 + 10 * k + 1 - d);
				CHECK(silent(s), "%s: more data than was sent", kind_names[k]);
				struct sockaddr_un now = {0};
				socklen_t l = sizeof now;
				if (k != 2 || d)
					named(s, NULL, 0, 0);
				else
					CHECK(!getsockname(s, (void *)&now, &l) && l == chosen_len && !memcmp(&now, &chosen, l), "the name that the kernel chose is %s, was %s", now.sun_path + 1, chosen.sun_path + 1);
				l = sizeof cred;
				if (k != 1)
					CHECK(!getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &l) && !memcmp(&cred, &want, l), "%s: peer is pid %d uid %d gid %d", kind_names[k], cred.pid, cred.uid, cred.gid);
			}
		for (int k = 0; k < 3; k++)
			fill_pair(pair[k], k);
		CHECK(opt(pair[0][1], SO_SNDBUF) == 200000, "SO_SNDBUF is %d", opt(pair[0][1], SO_SNDBUF));

		char c;
		expect(half[1], 3000, 50);
		CHECK(recv(half[1], &c, 1, MSG_DONTWAIT) == 0 && send(half[0], "x", 1, 0) < 0 && errno == EPIPE, "the half that was shut down");
		put(half[1], 40, 52), expect(half[0], 40, 52);
		CHECK((events(half[1]) & (POLLIN | POLLRDHUP | POLLHUP)) == (POLLIN | POLLRDHUP), "poll of the half: %x", events(half[1]));
		expect(gone[1], 400, 51);
		CHECK(recv(gone[1], &c, 1, 0) == 0 && send(gone[1], "x", 1, 0) < 0 && errno == EPIPE && (events(gone[1]) & POLLHUP), "the pair whose other end is gone");
		close(half[0]), close(half[1]), close(gone[1]);
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, half)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, gone));
		put(half[0], 3000, 50), shutdown(half[0], SHUT_WR), put(gone[0], 400, 51), close(gone[0]);

		CHECK(opt(lst, SO_ACCEPTCONN) == 1 && opt(abs, SO_ACCEPTCONN) == 1, "not listening");
		named(lst, "listen", 0, 0), named(abs, "abstract", 1, 0), named(acc[0], "listen", 0, 0), named(acc[0], "client", 0, 1), named(cli[0], "client", 0, 0);
		named(cli[0], "listen", 0, 1), named(acc[1], "abstract", 1, 0), named(acc[1], NULL, 0, 1), named(cli[1], "abstract", 1, 1), named(cli[1], NULL, 0, 0);
		expect(acc[0], 600, 60), expect(cli[0], 700, 61), expect(acc[1], 800, 62), expect(cli[1], 900, 63);
		put(cli[0], 600, 60), put(acc[0], 700, 61), put(cli[1], 800, 62), put(acc[1], 900, 63);
		CHECK(h_flags(acc[0]) == (O_RDWR | O_NONBLOCK), "flags of the accepted one");
		snprintf(text, sizeof text, "%s/listen", base);
		CHECK(!stat(text, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0711, "the socket file has mode %o", st.st_mode);
		CHECK(events(lst) & POLLIN, "the connection that waits to be accepted is lost");
		int a = accept(lst, NULL, NULL);
		expect(a, 123, 64), put(a, 5, 65), expect(pend, 5, 65);
		CHECK(!(events(lst) & POLLIN), "more connections wait than were made");
		close(a), close(pend);
		pend = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		CHECK(!conn(pend, "listen", 0), "a new connection: %s", strerror(errno));
		put(pend, 123, 64);

		struct sockaddr_un from = {0}, sender;
		socklen_t l = sizeof from, sl = name(&sender, "sender", 0);
		CHECK(recvfrom(dg[0], text, 500, MSG_DONTWAIT, (void *)&from, &l) == 333 && l == sl && !memcmp(&from, &sender, l), "the queued datagram's sender is %s", from.sun_path);
		l = sizeof from, sl = name(&sender, "dgabs", 1);
		CHECK(recvfrom(dg[0], text, 500, MSG_DONTWAIT, (void *)&from, &l) == 334 && l == sl && !memcmp(&from, &sender, l), "the second one's sender is %s", from.sun_path + 1);
		expect(dg[4], 335, 72), put(dg[1], 333, 70), put(dg[2], 334, 71), put(dg[3], 335, 72);
		named(dg[0], "server", 0, 0), named(dg[1], "server", 0, 1), named(dg[3], "dgabs2", 1, 1), named(lost, "unlinked", 0, 0);
		CHECK(conn(lonely, "nowhere", 0) < 0 && errno == ENOENT && conn(noname, "server", 0) == 0, "the unconnected ones");
		close(noname), noname = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
		c = (char)('a' + h.check);
		CHECK(write(child[0], &c, 1) == 1 && read(child[0], text, 1) == 1 && text[0] == c + 1, "the child does not answer");
	}
	CHECK(write(child[0], "q", 1) == 1, "write");
	snprintf(text, sizeof text, "rm -rf %s", base);
	return getenv("STATE_DIR") && system(text) ? 1 : 0;
}

/*
 * State: descriptors in flight in unix sockets: a file, both ends of a pipe that nothing else holds, several in one
 * message, an eventfd and a socket that has a queue of its own, a message with credentials, one in a connection that is
 * not yet accepted.
 * Wrong could go: the descriptors closed or taken out by the saver, positions and sharing with a copy that is open, the
 * place within a byte stream where the descriptors come, a description that exists in flight only.
 */
#include "harness.h"
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static void give(int s, const char *bytes, const int *fds, int n)
{
	char buf[CMSG_SPACE(sizeof(int) * 32)] = {0};
	struct iovec v = {(void *)bytes, strlen(bytes)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = n ? buf : NULL, .msg_controllen = n ? CMSG_SPACE(sizeof(int) * (size_t)n) : 0};
	if (n) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	CHECK(sendmsg(s, &m, 0) == (ssize_t)v.iov_len, "sendmsg: %s", strerror(errno));
}
/* take reads one message that must hold these bytes and n descriptors; flags of recvmsg in fl */
static int take(int s, const char *bytes, int *fds, int n, struct ucred *cred)
{
	char buf[CMSG_SPACE(sizeof(int) * 32) + CMSG_SPACE(sizeof *cred)], data[100] = "";
	struct iovec v = {data, sizeof data - 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof buf};
	ssize_t r = recvmsg(s, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int got = 0;
	for (struct cmsghdr *c = r < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			got = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)(got < 32 ? got : 32));
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS && cred) {
			memcpy(cred, CMSG_DATA(c), sizeof *cred);
		}
	}
	CHECK(r == (ssize_t)strlen(bytes) && !strcmp(data, bytes), "message '%s' is '%s' (%zd): %s", bytes, data, r, r < 0 ? strerror(errno) : "");
	CHECK(got == n, "message '%s' has %d descriptors, not %d", bytes, got, n);
	return got == n;
}
static int file, stream[2], dgram[2], seq[2], lst;
static char path[64];

static void build(void)
{
	int p[2], q[2], fds[3], e = MUST(eventfd(5, EFD_SEMAPHORE)), c;
	MUST(pipe2(p, O_NONBLOCK));
	MUST(write(p[1], "in the pipe", 11));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, q));
	MUST(send(q[0], "deep", 4, 0));
	give(q[0], "deeper", (int[]){e}, 1); /* a descriptor in flight in a socket in flight */
	/* a stream: bytes, then descriptors with their byte, then bytes */
	give(stream[0], "before ", NULL, 0), give(stream[0], "with", (int[]){file, p[0]}, 2), give(stream[0], " after", NULL, 0), give(stream[0], "again", (int[]){file}, 1);
	fds[0] = e, fds[1] = p[1], fds[2] = MUST(open("/dev/null", O_WRONLY | O_APPEND));
	give(dgram[0], "three", fds, 3);
	give(seq[0], "socket", (int[]){q[1], q[0]}, 2), give(seq[0], "plain", NULL, 0);
	c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t l = sizeof a;
	MUST(getsockname(lst, (void *)&a, &l));
	MUST(connect(c, (void *)&a, l));
	give(c, "pending", (int[]){file}, 1); /* in the queue of what is not yet accepted; its sender is gone */
	close(c), close(e), close(p[0]), close(p[1]), close(q[0]), close(q[1]), close(fds[2]);
}
static int same(int a, int b) /* one description: they move together */
{
	off_t was = lseek(a, 0, SEEK_CUR);
	lseek(a, was + 7, SEEK_SET);
	int r = lseek(b, 0, SEEK_CUR) == was + 7;
	lseek(a, was, SEEK_SET);
	return r;
}
static int same_count(int efd, unsigned long want)
{
	char proc[64], count[32];
	snprintf(proc, sizeof proc, "/proc/self/fdinfo/%d", efd);
	return h_field(proc, "eventfd-count", count, sizeof count) && strtoul(count, NULL, 16) == want;
}

int main(void)
{
	const int one = 1;
	int f[32], g[32], k[32];
	char buf[100];
	h_init();
	signal(SIGPIPE, SIG_IGN);
	snprintf(path, sizeof path, "/tmp/scm.%d", getpid());
	file = MUST(open(path, O_RDWR | O_CREAT, 0600));
	MUST(write(file, "0123456789", 10)), MUST(lseek(file, 3, SEEK_SET));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, stream)), MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram)), MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
	MUST(setsockopt(dgram[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
	lst = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	MUST(bind(lst, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)snprintf(a.sun_path + 1, 50, "scm-%d", getpid()))));
	MUST(listen(lst, 2));
	build();
	ready();

	while (wait_check()) {
		struct ucred cred = {0, 1, 1};
		memset(f, 0xff, sizeof f), memset(g, 0xff, sizeof g), memset(k, 0xff, sizeof k); /* -1: no descriptors yet */
		memset(buf, 0, sizeof buf);
		CHECK(recv(stream[1], buf, 7, MSG_DONTWAIT) == 7 && !strcmp(buf, "before "), "the bytes before the descriptors: %s", buf);
		if (take(stream[1], "with", f, 2, NULL)) {
			CHECK(same(f[0], file) && lseek(f[0], 0, SEEK_CUR) == 3, "the file in flight is another description than the open one");
			CHECK(fcntl(f[0], F_GETFD) == FD_CLOEXEC && h_flags(f[0]) == O_RDWR && h_flags(f[1]) == O_NONBLOCK, "flags");
			memset(buf, 0, sizeof buf);
			CHECK(read(f[1], buf, 50) == 11 && !strcmp(buf, "in the pipe"), "the pipe in flight holds '%s'", buf);
		}
		/* a message with descriptors ends a read of the stream: what comes after is read by itself */
		memset(buf, 0, sizeof buf);
		CHECK(recv(stream[1], buf, 6, MSG_DONTWAIT) == 6 && !strcmp(buf, " after"), "the bytes after the descriptors: %s", buf);
		if (take(stream[1], "again", k, 1, NULL))
			CHECK(same(k[0], f[0]), "one file twice in flight became two");
		if (take(dgram[1], "three", g, 3, &cred)) {
			uint64_t v = 0;
			CHECK(read(g[0], &v, 8) == 8 && v == 1, "the eventfd in flight gives %llu", (unsigned long long)v);
			CHECK(write(g[1], "!", 1) == 1 && read(f[1], buf, 5) == 1, "the two ends of the pipe in flight have parted");
			CHECK(h_flags(g[2]) == (O_WRONLY | O_APPEND), "the device in flight");
			CHECK(cred.pid == getpid() && cred.uid == 0 && cred.gid == 0, "credentials of the message: %d %d %d", cred.pid, cred.uid, cred.gid);
			int s[32], in[32];
			if (take(seq[1], "socket", s, 2, NULL)) {
				CHECK(recv(s[0], buf, 50, MSG_DONTWAIT) == 4 && !memcmp(buf, "deep", 4), "the queue of the socket in flight");
				if (take(s[0], "deeper", in, 1, NULL)) {
					CHECK(read(in[0], &v, 8) == 8 && v == 1, "the eventfd two levels deep");
					v = 100;
					CHECK(write(in[0], &v, 8) == 8 && same_count(g[0], 103), "the eventfd came twice in flight and became two");
					close(in[0]);
				}
				CHECK(send(s[1], "x", 1, 0) == 1 && recv(s[0], buf, 5, MSG_DONTWAIT) == 1, "the pair in flight has parted");
				close(s[0]), close(s[1]);
			}
			close(g[0]), close(g[1]), close(g[2]);
		}
		take(seq[1], "plain", g, 0, NULL);
		close(f[0]), close(f[1]), close(k[0]);
		int c = accept(lst, NULL, NULL);
		if (c >= 0 && take(c, "pending", f, 1, NULL)) {
			CHECK(same(f[0], file), "the file in flight in a connection not yet accepted");
			CHECK(recv(c, buf, 1, MSG_DONTWAIT) == 0, "no end of file behind it");
			close(f[0]);
		}
		CHECK(c >= 0 && !close(c), "accept: %s", strerror(errno));
		build();
	}
	return unlink(path);
}

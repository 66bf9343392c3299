/*
 * State: unix sockets as they come seldom: bound by a relative path, to a file that was renamed or removed since, to a
 * name that another socket has taken over; connections made by a process that is dead, under other ids; ends that are
 * closed but have left a name, an error or data; datagrams of senders that are closed; credentials in a queue; a peek
 * offset; timeouts; a long message in a connection that is not accepted yet.
 * Wrong could go: all that is made anew by a helper: names, files in the wrong place, SO_PEERCRED, what is found after EOF.
 */
#include "harness.h"
#include <grp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { UID = 1234, GID = 2345 };
static char base[60], text[200001];
static int round_;

/* S keeps all descriptors of one building, so that the next can close them. */
static struct {
	int relative, up, renamed, removed, orphan[2], usurped[2], usurper, gone_client, gone_server, killed[2], dead_listener, dead_client;
	int lost, box, elsewhere[3], peek[2], opts, reset, creds[2], dcreds[2], pend, plst, chosen, deaf[2], packets;
	pid_t dead[4];
} s;

static socklen_t addr(struct sockaddr_un *a, const char *path, int abstract)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	int n = snprintf(a->sun_path + abstract, sizeof a->sun_path - 1, "%s", path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
}
static const char *in(const char *name)
{
	static char path[4][90];
	static int i;
	snprintf(path[++i % 4], 90, "%s/%d.%s", base, round_, name);
	return path[i % 4];
}
static int sock(int type, const char *path, int abstract)
{
	struct sockaddr_un a;
	int fd = MUST(socket(AF_UNIX, type, 0));
	if (path) {
		socklen_t l = addr(&a, path, abstract);
		MUST(bind(fd, (void *)&a, l));
	}
	return fd;
}
static int listening(int type, const char *path, int abstract)
{
	int fd = sock(type, path, abstract);
	MUST(listen(fd, 5));
	return fd;
}
static int conn(int fd, const char *path, int abstract)
{
	struct sockaddr_un a;
	socklen_t l = addr(&a, path, abstract);
	return connect(fd, (void *)&a, l);
}
static int connected(int type, const char *path, int abstract)
{
	int fd = sock(type, NULL, 0);
	MUST(conn(fd, path, abstract));
	return fd;
}
static void named(int fd, const char *what, int peer, const char *path, int abstract)
{
	struct sockaddr_un want, got;
	socklen_t l = path ? addr(&want, path, abstract) : 2, n = sizeof got;
	memset(&got, 0, sizeof got);
	int r = (peer ? getpeername : getsockname)(fd, (void *)&got, &n);
	CHECK(!r && n == l && (!path || !memcmp(&got, &want, l)), "%s: %s name is '%s' (%d): %s", what, peer ? "peer's" : "own", got.sun_path + abstract, (int)n, r ? strerror(errno) : "");
}
static void cred(int fd, const char *what, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred c = {-5, 5, 5};
	socklen_t l = sizeof c;
	CHECK(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &l) && c.pid == pid && c.uid == uid && c.gid == gid, "%s: peer is pid %d uid %d gid %d, not %d %d %d", what, c.pid, c.uid, c.gid, pid, uid, gid);
}
/* dead has a child under other ids do something and die */
#define DEAD(what) ({ pid_t p_ = MUST(fork()); if (!p_) { what; _exit(0); } int st_; MUST(waitpid(p_, &st_, 0)); if (st_) DIE("the child failed: %x", st_); p_; })
#define OTHER() do { MUST(setgroups(2, (gid_t[]){77, 88})); MUST(setresgid(GID, GID, GID)); MUST(setresuid(UID, UID, UID)); } while (0)

static void pair(int type, int *p) { MUST(socketpair(AF_UNIX, type, 0, p)); }
static int opt(int fd, int o)
{
	int v = -1;
	socklen_t l = sizeof v;
	getsockopt(fd, SOL_SOCKET, o, &v, &l);
	return v;
}
static void expect(int fd, const char *want, const char *what)
{
	memset(text, 0, 200);
	ssize_t r = recv(fd, text, 100, MSG_DONTWAIT);
	CHECK(r == (ssize_t)strlen(want) && !strcmp(text, want), "%s: '%s' (%zd: %s), not '%s'", what, text, r, r < 0 ? strerror(errno) : "", want);
}
static void put(int fd, const char *data) { MUST(send(fd, data, strlen(data), MSG_DONTWAIT)); }
static void put_to(int fd, const char *data, const char *path)
{
	struct sockaddr_un a;
	socklen_t l = addr(&a, path, 0);
	MUST(sendto(fd, data, strlen(data), MSG_DONTWAIT, (void *)&a, l));
}

static void build(void)
{
	int fd, p[2], one = 1;
	round_++;
	/* names */
	MUST(chdir(base));
	s.relative = listening(SOCK_STREAM, "relative", 0);
	s.up = sock(SOCK_DGRAM, "deep/er/../up", 0);
	MUST(chdir("/"));
	s.renamed = listening(SOCK_SEQPACKET, in("was"), 0), MUST(rename(in("was"), in("is"))), MUST(chmod(in("is"), 0640)), MUST(chown(in("is"), 5, 6));
	s.removed = listening(SOCK_STREAM, in("removed"), 0);
	s.orphan[0] = connected(SOCK_STREAM, in("removed"), 0), MUST(unlink(in("removed")));
	s.orphan[1] = MUST(accept(s.removed, NULL, NULL));
	fd = listening(SOCK_STREAM, "usurped", 1), s.usurped[0] = connected(SOCK_STREAM, "usurped", 1), s.usurped[1] = MUST(accept(fd, NULL, NULL)), close(fd);
	s.usurper = listening(SOCK_STREAM, "usurped", 1);
	/* ends that are closed */
	fd = sock(SOCK_STREAM, in("client"), 0);
	p[0] = listening(SOCK_STREAM, in("gone"), 0);
	MUST(conn(fd, in("gone"), 0)), s.gone_client = MUST(accept(p[0], NULL, NULL)), put(fd, "last words"), close(fd);
	s.gone_server = connected(SOCK_STREAM, in("gone"), 0), p[1] = MUST(accept(p[0], NULL, NULL)), put(p[1], "bye"), close(p[1]), close(p[0]);
	pair(SOCK_STREAM, p), put(p[1], "unread"), put(p[0], "read me"), close(p[0]), s.reset = p[1];
	pair(SOCK_SEQPACKET, p), put(p[0], "one"), MUST(send(p[0], "", 0, 0)), put(p[0], "three"), close(p[0]), s.packets = p[1];
	/* who made it */
	fd = listening(SOCK_STREAM, in("lst"), 0), MUST(chmod(in("lst"), 0777));
	s.killed[0] = sock(SOCK_STREAM, NULL, 0);
	s.dead[0] = DEAD(OTHER(); MUST(conn(s.killed[0], in("lst"), 0)));
	s.killed[1] = MUST(accept(fd, NULL, NULL)), close(fd);
	s.dead_listener = sock(SOCK_STREAM, in("dead"), 0);
	s.dead[1] = DEAD(OTHER(); MUST(listen(s.dead_listener, 2)));
	s.dead_client = connected(SOCK_STREAM, in("dead"), 0); /* not accepted */
	/* datagrams */
	fd = sock(SOCK_DGRAM, in("dg"), 0), s.lost = connected(SOCK_DGRAM, in("dg"), 0), close(fd);
	s.box = sock(SOCK_DGRAM, in("box"), 0);
	fd = sock(SOCK_DGRAM, in("sender"), 0), put_to(fd, "from a name", in("box")), put_to(fd, "", in("box")), put_to(fd, "", in("box")), close(fd), MUST(unlink(in("sender")));
	fd = sock(SOCK_DGRAM, NULL, 0), put_to(fd, "from nobody", in("box")), close(fd);
	pair(SOCK_DGRAM, s.elsewhere), s.elsewhere[2] = sock(SOCK_DGRAM, in("else"), 0);
	MUST(conn(s.elsewhere[1], in("else"), 0)), put(s.elsewhere[1], "moved");
	pair(SOCK_DGRAM, s.deaf), put(s.deaf[1], "before"), MUST(shutdown(s.deaf[0], SHUT_RD));
	/* options */
	pair(SOCK_STREAM, s.peek), put(s.peek[0], "0123456789"), MUST(setsockopt(s.peek[1], SOL_SOCKET, SO_PEEK_OFF, &(int){4}, 4));
	s.opts = sock(SOCK_STREAM, NULL, 0);
	MUST(setsockopt(s.opts, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1, 500000}, sizeof(struct timeval)));
	MUST(setsockopt(s.opts, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){2, 500000}, sizeof(struct timeval)));
	MUST(setsockopt(s.opts, SOL_SOCKET, SO_LINGER, &(struct linger){1, 7}, sizeof(struct linger)));
	MUST(setsockopt(s.opts, SOL_SOCKET, SO_RCVBUF, &(int){30000}, 4)), MUST(setsockopt(s.opts, SOL_SOCKET, SO_RCVLOWAT, &(int){9}, 4)), MUST(setsockopt(s.opts, SOL_SOCKET, SO_PRIORITY, &(int){3}, 4));
	/* credentials in a queue */
	pair(SOCK_STREAM, s.creds), MUST(setsockopt(s.creds[1], SOL_SOCKET, SO_PASSCRED, &one, 4)), put(s.creds[0], "mine");
	s.dead[2] = DEAD(OTHER(); put(s.creds[0], "his"));
	pair(SOCK_DGRAM, s.dcreds), MUST(setsockopt(s.dcreds[1], SOL_SOCKET, SO_PASSCRED, &one, 4));
	s.dead[3] = DEAD(OTHER(); put(s.dcreds[0], "datagram"));
	/* not accepted yet */
	s.plst = listening(SOCK_STREAM, "pending", 1), s.pend = connected(SOCK_STREAM, "pending", 1);
	fill(text, 150000, 3), MUST(send(s.pend, text, 150000, 0));
	/* a name of the kernel's choice */
	s.chosen = sock(SOCK_STREAM, NULL, 0), MUST(bind(s.chosen, (void *)&(struct sockaddr_un){.sun_family = AF_UNIX}, 2));
}
static void with_creds(int fd, const char *want, pid_t pid, uid_t uid, gid_t gid)
{
	char data[100] = "", control[200];
	struct iovec v = {data, 99};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct ucred c = {-1, 1, 1};
	recvmsg(fd, &m, MSG_DONTWAIT);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		if (h->cmsg_type == SCM_CREDENTIALS)
			memcpy(&c, CMSG_DATA(h), sizeof c);
	CHECK(!strcmp(data, want) && c.pid == pid && c.uid == uid && c.gid == gid, "'%s' from pid %d uid %d gid %d, not '%s' from %d %d %d", data, c.pid, c.uid, c.gid, want, pid, uid, gid);
}
static void from(const char *want, const char *sender)
{
	struct sockaddr_un a, b;
	socklen_t l = sizeof a, n = sender ? addr(&b, sender, 0) : 0;
	memset(text, 0, 100);
	ssize_t r = recvfrom(s.box, text, 99, MSG_DONTWAIT, (void *)&a, &l);
	CHECK(r == (ssize_t)strlen(want) && !strcmp(text, want) && l == n && !memcmp(&a, &b, n), "datagram '%s' (%zd) from '%s', not '%s' from '%s'", text, r, l > 2 ? a.sun_path : "", want, sender ? sender : "");
}
static void reach(int type, const char *path, int listener, const char *what)
{
	int fd = sock(type, NULL, 0), a = -1;
	CHECK(!conn(fd, path, 0) && (a = accept(listener, NULL, NULL)) >= 0, "%s cannot be reached: %s", what, strerror(errno));
	close(fd), close(a);
}

static void check(struct sockaddr_un *chosen, socklen_t chosen_len)
{
	pid_t me = getpid();
	struct stat st;
	char path[90];
	snprintf(path, sizeof path, "%s/relative", base);
	named(s.relative, "relative", 0, "relative", 0), reach(SOCK_STREAM, path, s.relative, "the relative one");
	snprintf(path, sizeof path, "%s/deep/up", base);
	named(s.up, "upwards", 0, "deep/er/../up", 0); CHECK(!stat(path, &st) && S_ISSOCK(st.st_mode), "the file of the upward path: %s", strerror(errno));
	named(s.renamed, "renamed", 0, in("was"), 0), reach(SOCK_SEQPACKET, in("is"), s.renamed, "the renamed one");
	CHECK(!stat(in("is"), &st) && (st.st_mode & 0777) == 0640 && st.st_uid == 5 && st.st_gid == 6, "the renamed file has mode %o owner %d:%d", st.st_mode, st.st_uid, st.st_gid);
	CHECK(stat(in("was"), &st) < 0 && stat(in("removed"), &st) < 0, "removed files are back");
	named(s.removed, "removed", 0, in("removed"), 0); CHECK(opt(s.removed, SO_ACCEPTCONN) == 1, "removed: does not listen");
	named(s.orphan[1], "accepted", 0, in("removed"), 0), named(s.orphan[0], "orphan", 1, in("removed"), 0), put(s.orphan[0], "hello"), expect(s.orphan[1], "hello", "orphan");
	named(s.usurped[1], "usurped", 0, "usurped", 1), named(s.usurped[0], "usurped", 1, "usurped", 1), named(s.usurper, "usurper", 0, "usurped", 1);
	put(s.usurped[0], "old"), expect(s.usurped[1], "old", "usurped");

	named(s.gone_client, "the client is gone", 1, in("client"), 0), named(s.gone_client, "accepted", 0, in("gone"), 0), expect(s.gone_client, "last words", "gone client"), expect(s.gone_client, "", "EOF");
	named(s.gone_server, "the server is gone", 1, in("gone"), 0), expect(s.gone_server, "bye", "gone server"), expect(s.gone_server, "", "EOF");
	CHECK(opt(s.reset, SO_ERROR) == ECONNRESET, "the reset is lost"); expect(s.reset, "read me", "reset"), expect(s.reset, "", "EOF");
	expect(s.packets, "one", "packets"), expect(s.packets, "", "packets"), expect(s.packets, "three", "packets"), expect(s.packets, "", "EOF");

	gid_t groups[10] = {0};
	socklen_t l = sizeof groups;
	cred(s.killed[1], "connected by the dead", s.dead[0], UID, GID), cred(s.killed[0], "its listener", me, 0, 0);
	CHECK(!getsockopt(s.killed[1], SOL_SOCKET, 59 /* SO_PEERGROUPS */, groups, &l) && l == 8 && groups[0] == 77 && groups[1] == 88, "groups of the dead: %d, %u %u", (int)l, groups[0], groups[1]);
	cred(s.dead_listener, "listened by the dead", s.dead[1], UID, GID), cred(s.dead_client, "its client", s.dead[1], UID, GID);
	int fd = accept(s.dead_listener, NULL, NULL);
	cred(fd, "accepted late", me, 0, 0), close(fd);

	named(s.lost, "lost", 1, in("dg"), 0); CHECK(send(s.lost, "x", 1, 0) < 0 && errno == ECONNREFUSED, "lost: %s", strerror(errno));
	from("from a name", in("sender")), from("", in("sender")), from("", in("sender")), from("from nobody", NULL);
	named(s.elsewhere[1], "moved", 1, in("else"), 0), expect(s.elsewhere[2], "moved", "moved");
	expect(s.deaf[0], "before", "deaf"); CHECK(send(s.deaf[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "deaf: it hears: %s", strerror(errno));

	memset(text, 0, 100);
	CHECK(opt(s.peek[1], SO_PEEK_OFF) == 4 && recv(s.peek[1], text, 3, MSG_PEEK) == 3 && !strcmp(text, "456"), "peek offset: '%s'", text);
	struct timeval t = {0}, u = {0};
	struct linger g = {0};
	l = sizeof t; CHECK(!getsockopt(s.opts, SOL_SOCKET, SO_RCVTIMEO, &t, &l) && !getsockopt(s.opts, SOL_SOCKET, SO_SNDTIMEO, &u, &l), "timeouts");
	l = sizeof g; CHECK(!getsockopt(s.opts, SOL_SOCKET, SO_LINGER, &g, &l) && g.l_onoff == 1 && g.l_linger == 7, "linger");
	CHECK(t.tv_sec == 1 && t.tv_usec == 500000 && u.tv_sec == 2 && u.tv_usec == 500000, "timeouts %ld.%ld %ld.%ld", t.tv_sec, t.tv_usec, u.tv_sec, u.tv_usec);
	CHECK(opt(s.opts, SO_RCVBUF) == 60000 && opt(s.opts, SO_RCVLOWAT) == 9 && opt(s.opts, SO_PRIORITY) == 3 && opt(s.opts, 72 /* SO_BUF_LOCK */) == 2, "options: %d %d %d %d", opt(s.opts, SO_RCVBUF), opt(s.opts, SO_RCVLOWAT), opt(s.opts, SO_PRIORITY), opt(s.opts, 72));
	with_creds(s.creds[1], "mine", me, 0, 0), with_creds(s.creds[1], "his", s.dead[2], UID, GID), with_creds(s.dcreds[1], "datagram", s.dead[3], UID, GID);

	fd = accept(s.plst, NULL, NULL);
	memset(text, 0, sizeof text);
	ssize_t r = recv(fd, text, sizeof text, MSG_DONTWAIT);
	long bad = r > 0 ? verify(text, (size_t)r, 3) : -1;
	CHECK(r == 150000 && bad < 0, "the long message: %zd bytes, the first bad one is %ld", r, bad); close(fd);
	struct sockaddr_un now = {0};
	l = sizeof now;
	CHECK(!getsockname(s.chosen, (void *)&now, &l) && l == chosen_len && !memcmp(&now, chosen, l), "the chosen name is %s, was %s", now.sun_path + 1, chosen->sun_path + 1);
	int n = (int)((sizeof s - sizeof s.dead) / sizeof(int)), *all = (int *)&s;
	for (int i = 0; i < n; i++)
		close(all[i]);
	snprintf(text, sizeof text, "%s/relative", base), unlink(text);
	snprintf(text, sizeof text, "%s/deep/up", base), unlink(text);
}

int main(void)
{
	h_init();
	signal(SIGPIPE, SIG_IGN);
	snprintf(base, sizeof base, "/tmp/odd.%d", getpid());
	MUST(mkdir(base, 0755));
	snprintf(text, sizeof text, "%s/deep", base), MUST(mkdir(text, 0755));
	snprintf(text, sizeof text, "%s/deep/er", base), MUST(mkdir(text, 0755));
	int started = 0;
	for (;;) {
		struct sockaddr_un chosen = {0};
		socklen_t l = sizeof chosen;
		build();
		MUST(getsockname(s.chosen, (void *)&chosen, &l));
		if (!started++)
			ready();
		if (!wait_check())
			return 0;
		check(&chosen, l);
	}
}

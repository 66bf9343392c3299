/*
 * State: inotify instances: watches of directories, a file, a FIFO's directory, with gaps in the numbers, with
 * IN_ONESHOT and IN_EXCL_UNLINK, on the root file system and on a tmpfs, one in an epoll instance, one shared by fork.
 * Wrong could go: the number of a watch, its mask, events that the restore itself made, a reader that blocks.
 */
#include "harness.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

static char base[128];
static char *at(const char *name)
{
	static char path[4][200];
	static int i;
	snprintf(path[++i % 4], 200, "%s/%s", base, name);
	return path[i % 4];
}
static void touch(const char *path) { close(open(path, O_CREAT | O_WRONLY, 0644)); }
static int next(int fd, struct inotify_event *e, char *name)
{
	union { struct inotify_event e; char b[4096]; } u;
	static char rest[4096];
	static int left, of;
	if (left == 0 || of != fd) {
		ssize_t n = read(fd, u.b, sizeof u.b);
		if (n <= 0)
			return 0;
		memcpy(rest, u.b, (size_t)n), left = (int)n, of = fd;
	}
	memcpy(e, rest, sizeof *e);
	snprintf(name, 200, "%s", e->len ? rest + sizeof *e : "");
	int size = (int)(sizeof *e + e->len);
	memmove(rest, rest + size, (size_t)(left -= size));
	return 1;
}
static void expect(int fd, int wd, uint32_t mask, const char *name)
{
	struct inotify_event e = {0};
	char got[200] = "";
	int n = next(fd, &e, got);
	CHECK(n && e.wd == wd && e.mask == mask && !strcmp(got, name), "watch %d, mask %x of %s: %s watch %d, mask %x of %s", wd, mask, name, n ? "got" : "nothing;", e.wd, e.mask, got);
}

int main(void)
{
	h_init();
	snprintf(base, sizeof base, "/dev/shm/inotify.%d", getpid());
	int a = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), b = MUST(inotify_init1(IN_NONBLOCK)), none = MUST(inotify_init1(0));
	MUST(mkdir(base, 0755)), MUST(mkdir(at("dir"), 0755)), MUST(mkdir(at("other"), 0755)), MUST(mkdir("/watched", 0755));
	touch(at("file"));
	int gap = MUST(inotify_add_watch(a, "/", IN_CREATE)), dir = MUST(inotify_add_watch(a, at("dir"), IN_CREATE | IN_DELETE | IN_ONLYDIR));
	inotify_rm_watch(a, gap);
	int file = MUST(inotify_add_watch(a, at("file"), IN_MODIFY | IN_ATTRIB | IN_EXCL_UNLINK)), once = MUST(inotify_add_watch(a, at("other"), IN_CREATE | IN_ONESHOT));
	int root = MUST(inotify_add_watch(b, "/watched", IN_ALL_EVENTS));
	char text[300];
	struct inotify_event e;
	CHECK(next(a, &e, text) && e.mask == IN_IGNORED && e.wd == gap, "the removal of a watch");
	int ep = MUST(epoll_create1(0));
	struct epoll_event v = {EPOLLIN, {.fd = b}};
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, b, &v));
	if (!MUST(fork())) {
		h_part("child");
		while (wait_check()) {
			touch(at("dir/child"));
			expect(a, dir, IN_CREATE, "child");
			unlink(at("dir/child"));
			expect(a, dir, IN_DELETE, "child");
		}
		_exit(0);
	}
	ready();

	while (wait_check()) {
		h_collect("child");
		CHECK(!next(a, &e, text) && errno == EAGAIN && epoll_wait(ep, &v, 1, 0) == 0, "an event of no cause: watch %d, mask %x, %s", e.wd, e.mask, text);
		CHECK(h_flags(a) == O_NONBLOCK && h_flags(none) == 0 && fcntl(a, F_GETFD) == FD_CLOEXEC && fcntl(b, F_GETFD) == 0, "flags");
		int fd = open(at("file"), O_WRONLY);
		CHECK(write(fd, "x", 1) == 1, "write: %s", strerror(errno));
		expect(a, file, IN_MODIFY, "");
		fchmod(fd, 0640), close(fd);
		expect(a, file, IN_ATTRIB, "");
		touch("/watched/x");
		CHECK(epoll_wait(ep, &v, 1, 1000) == 1 && v.data.fd == b, "the epoll instance does not see the event");
		expect(b, root, IN_CREATE, "x"), expect(b, root, IN_OPEN, "x"), expect(b, root, IN_CLOSE_WRITE, "x");
		unlink("/watched/x");
		expect(b, root, IN_DELETE, "x");
		touch(at("other/y"));
		expect(a, once, IN_CREATE, "y"), expect(a, once, IN_IGNORED, "");
		unlink(at("other/y"));
		CHECK(!next(a, &e, text), "IN_ONESHOT: mask %x, %s", e.mask, text);
		int wd = inotify_add_watch(a, at("other"), IN_CREATE | IN_ONESHOT);
		CHECK(wd > once, "the next watch has number %d", wd);
		once = wd;
	}
	return 0;
}

/*
 * State: named pipes: with data between two descriptions, one opened for both, one whose writer is gone, one deleted
 * while open, one with a size of its own, and one that only a child has the other end of.
 * Wrong could go: restore that blocks in open(2) for want of the other side, data lost, EOF that comes or does not,
 * the deleted FIFO joined to a new one of the same name.
 */
#include "harness.h"
#include <poll.h>
#include <sys/ioctl.h>

static char base[128], text[200000];
static char *at(const char *name)
{
	static char path[2][200];
	static int i;
	snprintf(path[++i % 2], 200, "%s/%s", base, name);
	return path[i % 2];
}
/* both opens the two ends of a new FIFO */
static void both(const char *name, int fd[2], int flags)
{
	MUST(mkfifo(at(name), 0640));
	fd[0] = MUST(open(at(name), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	fd[1] = MUST(open(at(name), O_WRONLY | flags));
}
static void put(int fd, size_t n, int seed)
{
	fill(text, n, (uint64_t)seed);
	CHECK(write(fd, text, n) == (ssize_t)n, "write of %zu to FIFO %d: %s", n, seed, strerror(errno));
}
static void expect(int fd, size_t n, int seed)
{
	int queued = -1;
	ioctl(fd, FIONREAD, &queued);
	memset(text, 0, n);
	CHECK(queued == (int)n && read(fd, text, n) == (ssize_t)n && verify(text, n, (uint64_t)seed) < 0, "FIFO %d holds %d bytes, or others than the %zu written", seed, queued, n);
}

int main(void)
{
	int data[2], big[2], gone[2], dead[2], kid[2];
	h_init();
	snprintf(base, sizeof base, "/tmp/fifo.%d", getpid());
	MUST(mkdir(base, 0755));
	signal(SIGPIPE, SIG_IGN);
	both("data", data, 0), both("big", big, O_NONBLOCK), both("gone", gone, 0), both("dead", dead, 0), both("kid", kid, 0);
	put(data[1], 1234, 1);
	int size = MUST(fcntl(big[0], F_SETPIPE_SZ, 1 << 18));
	put(big[1], 150000, 2);
	put(gone[1], 99, 3);
	close(gone[1]);
	put(dead[1], 500, 4);
	MUST(unlink(at("dead")));
	MUST(mkfifo(at("dead"), 0600)); /* another one of that name */
	MUST(mkfifo(at("both"), 0600));
	int rw = MUST(open(at("both"), O_RDWR)), path_only = MUST(open(at("data"), O_PATH)), third = MUST(open(at("data"), O_RDONLY | O_NONBLOCK));
	put(rw, 77, 5);
	fcntl(data[0], F_SETFL, 0);
	if (!MUST(fork())) {
		char c = 'a';
		close(kid[0]);
		h_part("writer");
		while (wait_check())
			CHECK(write(kid[1], &c, 1) == 1 && c++, "write: %s", strerror(errno));
		_exit(0);
	}
	close(kid[1]);
	ready();

	for (char want = 'a'; wait_check(); want++) {
		char c = 0;
		struct stat st, st2;
		CHECK(h_flags(data[0]) == 0 && h_flags(data[1]) == O_WRONLY && h_flags(third) == O_NONBLOCK && h_flags(big[1]) == (O_WRONLY | O_NONBLOCK) && h_flags(rw) == O_RDWR && h_flags(path_only) == O_PATH, "flags");
		CHECK(fcntl(data[0], F_GETFD) == FD_CLOEXEC && fcntl(data[1], F_GETFD) == 0, "close-on-exec");
		CHECK(fcntl(big[1], F_GETPIPE_SZ) == size && fcntl(data[0], F_GETPIPE_SZ) == 65536, "sizes %d %d", fcntl(big[1], F_GETPIPE_SZ), fcntl(data[0], F_GETPIPE_SZ));
		expect(data[0], 1234, 1);
		CHECK(read(third, &c, 1) < 0 && errno == EAGAIN, "the second reader");
		put(data[1], 100, 1), expect(third, 100, 1), put(data[1], 1234, 1);
		expect(big[0], 150000, 2), put(big[1], 150000, 2);
		expect(gone[0], 99, 3);
		struct pollfd p = {gone[0], POLLIN, 0};
		CHECK(read(gone[0], &c, 1) == 0 && poll(&p, 1, 0) == 1 && p.revents == POLLHUP, "the FIFO whose writer is gone: poll says %x", p.revents);
		gone[1] = open(at("gone"), O_WRONLY | O_NONBLOCK); /* the reader is there */
		CHECK(gone[1] >= 0, "a new writer: %s", strerror(errno));
		put(gone[1], 99, 3), close(gone[1]);
		expect(dead[0], 500, 4), put(dead[1], 500, 4);
		CHECK(!fstat(dead[0], &st) && st.st_nlink == 0 && S_ISFIFO(st.st_mode) && !stat(at("dead"), &st2) && st.st_ino != st2.st_ino, "the deleted FIFO");
		CHECK(open(at("dead"), O_WRONLY | O_NONBLOCK) < 0 && errno == ENXIO, "the new FIFO of that name has a reader");
		expect(rw, 77, 5), put(rw, 77, 5);
		CHECK(!fstat(path_only, &st) && !fstat(data[0], &st2) && st.st_ino == st2.st_ino && st.st_dev == st2.st_dev && (st.st_mode & 07777) == 0640, "O_PATH of a FIFO");
		h_collect("writer");
		CHECK(read(kid[0], &c, 1) == 1 && c == want, "the child wrote %c, not %c", c, want);
		CHECK(read(kid[0], &c, 1) < 0 && errno == EAGAIN, "the child's end is closed: %s", strerror(errno));
	}
	snprintf(text, sizeof text, "rm -rf %s", base);
	return getenv("STATE_DIR") && system(text) ? 1 : 0;
}

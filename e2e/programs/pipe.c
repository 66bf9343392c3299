/*
 * State: pipes with data, a resized one, a full one, one end closed, ends shared with a child and reopened.
 * Wrong could go: bytes lost, doubled or reordered; the size back at 64 KB; O_NONBLOCK set on one end only or on
 * both; a reopened end taken for a dup; EOF or EPIPE gone because somebody kept an extra end open.
 */
#include "harness.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static char buf[1 << 20];

static void put(int fd, size_t n, uint64_t seed)
{
	fill(buf, n, seed);
	for (size_t off = 0; off < n;) {
		ssize_t w = write(fd, buf + off, n - off);
		if (w < 0)
			return h_fail("pipe %llu: write: %s", (unsigned long long)seed, strerror(errno));
		off += (size_t)w;
	}
}
static void expect(int fd, size_t n, uint64_t seed)
{
	int queued = -1;
	ioctl(fd, FIONREAD, &queued);
	CHECK(queued == (int)n, "pipe %d holds %d bytes, not %zu", (int)seed, queued, n);
	memset(buf, 0, n);
	size_t off = 0;
	for (ssize_t r; off < n && (int)off < queued && (r = read(fd, buf + off, n - off)) > 0;)
		off += (size_t)r;
	CHECK(off == n && verify(buf, n, seed) < 0, "pipe %d: %zu bytes, first wrong one at %ld", (int)seed, off, verify(buf, n, seed));
}

int main(void)
{
	int small[2], big[2], full[2], eof[2], dead[2], echo[2], back[2];
	signal(SIGPIPE, SIG_IGN);
	h_init();

	MUST(pipe(small));
	put(small[1], 5000, 1);
	MUST(pipe2(big, O_CLOEXEC));
	int size = MUST(fcntl(big[1], F_SETPIPE_SZ, 1 << 20));
	put(big[1], 300001, 2);
	MUST(pipe2(full, O_NONBLOCK));
	put(full[1], 65536, 3);
	MUST(pipe(eof));
	put(eof[1], 777, 4);
	close(eof[1]);
	MUST(pipe(dead));
	close(dead[0]);
	/* The echo pipe: the child owns the far ends alone; big[1] is open in both, as one description. */
	MUST(pipe(echo));
	MUST(pipe(back));
	pid_t child = MUST(fork());
	if (!child) {
		close(echo[1]);
		close(back[0]);
		for (ssize_t n; (n = read(echo[0], buf, 4096)) != 0;) {
			if (n < 0)
				exit(errno == EINTR ? 3 : 4); /* EINTR must never be seen */
			if (buf[0] == 'n')
				fcntl(small[0], F_SETFL, O_NONBLOCK);
			if (buf[0] == 'b')
				fcntl(small[0], F_SETFL, 0);
			if (write(back[1], buf, (size_t)n) != n)
				exit(5);
		}
		exit(0);
	}
	close(echo[0]);
	close(back[1]);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", small[0]);
	int again = MUST(open(path, O_RDONLY | O_NONBLOCK)); /* another description of the same pipe */
	int both = MUST(open(path, O_RDWR));
	int copy = MUST(dup(small[1]));
	ready();
	uint64_t eof_seed = 4;

	while (wait_check()) {
		CHECK(fcntl(small[1], F_GETPIPE_SZ) == 65536, "size of the small pipe is %d", fcntl(small[1], F_GETPIPE_SZ));
		CHECK(fcntl(big[0], F_GETPIPE_SZ) == size, "size of the big pipe is %d, not %d", fcntl(big[0], F_GETPIPE_SZ), size);
		CHECK(h_flags(small[0]) == O_RDONLY && h_flags(small[1]) == O_WRONLY, "flags of the small pipe");
		CHECK(h_flags(again) == O_NONBLOCK && h_flags(both) == O_RDWR, "flags of the reopened ends: %o %o", h_flags(again), h_flags(both));
		CHECK(h_flags(full[0]) == O_NONBLOCK && h_flags(full[1]) == (O_WRONLY | O_NONBLOCK), "flags of the full pipe");
		CHECK(fcntl(big[0], F_GETFD) == FD_CLOEXEC && fcntl(small[0], F_GETFD) == 0, "close-on-exec");

		CHECK(write(full[1], "x", 1) < 0 && errno == EAGAIN, "the full pipe took a byte");
		expect(small[0], 5000, 1);
		CHECK(read(again, buf, 1) < 0 && errno == EAGAIN, "the reopened end is of another pipe, or data was doubled");
		put(copy, 2500, 1); /* through three descriptions, one pipe */
		expect(again, 2500, 1);
		put(both, 5000, 1);
		expect(big[0], 300001, 2);
		put(big[1], 300001, 2);
		expect(full[0], 65536, 3);
		CHECK(read(full[0], buf, 1) < 0 && errno == EAGAIN, "the emptied pipe gave another byte");
		put(full[1], 65536, 3);

		/* EOF after the data: the pipe cannot be refilled, so a fresh one takes its number for the next round */
		expect(eof[0], 777, eof_seed);
		CHECK(read(eof[0], buf, 1) == 0, "no end of file: a write end is still open somewhere");
		struct pollfd p = {eof[0], POLLIN, 0};
		CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLHUP, "poll of the closed pipe: %x", p.revents);
		int fresh[2];
		MUST(pipe(fresh));
		put(fresh[1], 777, ++eof_seed);
		dup2(fresh[0], eof[0]);
		close(fresh[0]);
		close(fresh[1]);
		CHECK(write(dead[1], "x", 1) < 0 && errno == EPIPE, "no EPIPE: a read end is still open somewhere");

		/* the child shares small[0]'s description: flags set there show here */
		for (const char *c = "nb"; *c; c++) {
			char got = 0;
			CHECK(write(echo[1], c, 1) == 1 && read(back[0], &got, 1) == 1 && got == *c, "the child does not echo: %c", got);
			CHECK(h_flags(small[0]) == (*c == 'n' ? O_NONBLOCK : 0), "the child's description of the pipe is not ours (%c: %o)", *c, h_flags(small[0]));
		}
		CHECK(h_flags(again) == O_NONBLOCK, "the reopened end shares flags");
		int status;
		CHECK(waitpid(child, &status, WNOHANG) == 0, "the child ended with %d", WEXITSTATUS(status));
	}
	close(echo[1]);
	return 0;
}

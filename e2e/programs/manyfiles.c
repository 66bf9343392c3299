/*
 * manyfiles: a process with very many open descriptors (argv[1], 200 unless said) of the common kinds.
 *
 * In turn: regular files at positions of their own, deleted files, pipes with a byte in them, event counters, connected unix
 * sockets with a datagram in them, duplicates of earlier descriptors. All keep their numbers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include "harness.h"

enum kind { REGULAR, DELETED, PIPE_IN, PIPE_OUT, EVENT, SOCKET_A, SOCKET_B, DUPLICATE, KINDS };

static int total = 200;
static struct entry { int fd; enum kind kind; long value; } *entries;
static int made;

static void add(int fd, enum kind kind, long value)
{
	entries[made++] = (struct entry){MUST(fd), kind, value};
}

static int file(int i, int gone)
{
	char path[100], text[512];
	snprintf(path, sizeof path, "/tmp/manyfiles.%d%s", gone ? i : i % 32, gone ? ".gone" : "");
	int fd = MUST(open(path, O_RDWR | O_CREAT | (i % 3 ? O_CLOEXEC : 0), 0600));
	fill(text, sizeof text, (uint64_t)(gone ? 1000 + i : i % 32));
	MUST(pwrite(fd, text, sizeof text, 0));
	if (gone)
		MUST(unlink(path));
	MUST(lseek(fd, i % 500, SEEK_SET));
	return fd;
}

/* twin makes both ends of a pair and something in it. */
static void twin(int i)
{
	int pair[2];
	char byte = (char)i;
	if (i % 2) {
		MUST(pipe2(pair, O_NONBLOCK));
		add(pair[0], PIPE_IN, i);
		add(pair[1], PIPE_OUT, i);
	} else {
		MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
		add(pair[0], SOCKET_A, i);
		add(pair[1], SOCKET_B, i);
	}
	MUST(write(pair[1], &byte, 1));
}

static void build(int i)
{
	switch (i % 8) {
	case 0: case 1: case 2: add(file(i, 0), REGULAR, i); break;
	case 3: add(i % 64 == 3 ? file(i, 1) : eventfd((unsigned)i, EFD_NONBLOCK), i % 64 == 3 ? DELETED : EVENT, i); break;
	case 4: case 5: twin(i); break;
	case 6: add(eventfd((unsigned)i, EFD_NONBLOCK), EVENT, i); break;
	case 7: add(dup(entries[made / 2].fd), DUPLICATE, made / 2); break;
	}
}

static void look(struct entry *e)
{
	char text[16];
	uint64_t counter = 0;
	int fd = e->fd, other;
	switch (e->kind) {
	case REGULAR: case DELETED:
		CHECK(lseek(fd, 0, SEEK_CUR) == e->value % 500, "descriptor %d stands at %ld, not at %ld", fd, (long)lseek(fd, 0, SEEK_CUR), e->value % 500);
		CHECK(!!(fcntl(fd, F_GETFD) & FD_CLOEXEC) == !!(e->value % 3), "descriptor %d: close-on-exec changed", fd);
		char want[512];
		fill(want, sizeof want, (uint64_t)(e->kind == DELETED ? 1000 + e->value : e->value % 32));
		CHECK(pread(fd, text, sizeof text, 100) == sizeof text && !memcmp(text, want + 100, sizeof text), "descriptor %d leads to another file", fd);
		break;
	case EVENT:
		CHECK(read(fd, &counter, sizeof counter) == sizeof counter && counter == (uint64_t)e->value, "descriptor %d counts %lu, not %ld", fd, (unsigned long)counter, e->value);
		counter = (uint64_t)e->value;
		CHECK(write(fd, &counter, sizeof counter) == sizeof counter, "descriptor %d: %s", fd, strerror(errno));
		break;
	case PIPE_IN: case SOCKET_A:
		other = e[1].fd;
		CHECK(read(fd, text, sizeof text) == 1 && text[0] == (char)e->value, "descriptor %d has not what was written to %d", fd, other);
		text[0] = (char)e->value;
		CHECK(write(other, text, 1) == 1, "descriptor %d: %s", other, strerror(errno));
		break;
	case DUPLICATE:
		other = entries[e->value].fd;
		int flags = h_flags(fd);
		CHECK(fcntl(fd, F_SETFL, flags ^ O_APPEND) == 0 && h_flags(other) == (flags ^ O_APPEND), "descriptor %d is no duplicate of %d any more", fd, other);
		fcntl(fd, F_SETFL, flags);
		break;
	default: break;
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	if (argc > 1)
		total = atoi(argv[1]);
	MUST(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	h_init();
	entries = calloc((size_t)total + 2, sizeof *entries);
	for (int i = 8; made < total; i++)
		build(made < 8 ? i - i % 8 : i);
	ready();
	while (wait_check())
		for (int i = 0; i < made; i++)
			look(&entries[i]);
	return 0;
}

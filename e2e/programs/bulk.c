/*
 * State: much of everything that has contents, so many MB as the argument says (24 without one): memory of a tree of
 * four processes, some pages of it shared copy-on-write; shared anonymous memory, a memfd, a file and links on a
 * tmpfs, a deleted file, a pipe with more in it than a pipe has by itself.
 * Wrong could go: contents of one object in another, which is what happens when a stream of all is read at the wrong place.
 */
#include "harness.h"
#include <sys/wait.h>

#define MB (1UL << 20)
enum { KIDS = 3, QUEUED = 200000, FILES = 200 };
static const char *const names[KIDS + 1] = {"", "first", "second", "below"};
static uint64_t *mine, *common, *shared;
static size_t part, both;
static int named, unnamed, deleted, queue[2];

static void put(uint64_t *p, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes / 8; i++)
		p[i] = h_word(seed, i);
}
static void look(const char *what, const uint64_t *p, size_t bytes, uint64_t seed)
{
	size_t i = 0;
	while (i < bytes / 8 && p[i] == h_word(seed, i))
		i++;
	CHECK(i == bytes / 8, "%s: word %zu of %zu is another", what, i, bytes / 8);
}
static uint64_t *map(size_t bytes, int flags, int fd)
{
	return MUST(mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0));
}
static void put_file(int fd, size_t bytes, uint64_t seed)
{
	MUST(ftruncate(fd, (off_t)bytes));
	uint64_t *p = map(bytes, MAP_SHARED, fd);
	put(p, bytes, seed);
	MUST(munmap(p, bytes));
}
static void look_file(const char *what, int fd, size_t bytes, uint64_t seed)
{
	struct stat st;
	if (fstat(fd, &st) || st.st_size != (off_t)bytes)
		return h_fail("%s: its size is %ld", what, (long)st.st_size);
	uint64_t *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return h_fail("%s: map: %s", what, strerror(errno));
	look(what, p, bytes, seed);
	munmap(p, bytes);
}
static void own(int who)
{
	mine = map(part, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	put(mine, part, 100 + (uint64_t)who);
	/* every fourth page of what all have in common becomes its own */
	for (size_t at = 0; who && at < both; at += 4 * 4096)
		put(common + at / 8, 4096, 1000 + (uint64_t)who);
}
static void contents(int who)
{
	look("own memory", mine, part, 100 + (uint64_t)who);
	for (size_t at = 0; at < both; at += 4096)
		if (who && at % (4 * 4096) == 0)
			look("changed page", common + at / 8, 4096, 1000 + (uint64_t)who);
		else
			look("common page", common + at / 8, 4096, 50 + at);
	look("shared memory", shared, both, 1);
	look_file("memfd", unnamed, both, 2);
}
static void kid(int who, volatile int *up)
{
	own(who);
	if (who == 2 && !MUST(fork()))
		own(who = 3);
	up[who] = 1;
	h_part(names[who]);
	while (wait_check())
		contents(who);
	_exit(0);
}

int main(int argc, char **argv)
{
	static uint8_t text[QUEUED], got[QUEUED];
	char name[64], target[64];
	size_t all = (argc > 1 ? strtoul(argv[1], NULL, 0) : 24) * MB;
	part = all / 8, both = all / 12 / MB * MB; /* four own parts, six times both */
	h_init();
	volatile int *up = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	shared = map(both, MAP_SHARED | MAP_ANONYMOUS, -1);
	put(shared, both, 1);
	unnamed = MUST(memfd_create("bulk", 0));
	put_file(unnamed, both, 2);
	MUST(mkdir("/tmp/bulk", 0755));
	named = MUST(open("/tmp/bulk/file", O_RDWR | O_CREAT | O_EXCL, 0644));
	put_file(named, both, 3);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "/tmp/bulk/link.%d", i);
		snprintf(target, sizeof target, "to.%d", i);
		MUST(symlink(target, name));
	}
	deleted = MUST(open("/tmp/bulk/deleted", O_RDWR | O_CREAT | O_EXCL, 0644));
	put_file(deleted, both, 4);
	MUST(unlink("/tmp/bulk/deleted"));
	MUST(pipe(queue));
	MUST(fcntl(queue[1], F_SETPIPE_SZ, 1 << 20));
	fill(text, QUEUED, 5);
	MUST(write(queue[1], text, QUEUED));
	common = map(both, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (size_t at = 0; at < both; at += 4096)
		put(common + at / 8, 4096, 50 + at);
	own(0);
	for (int k = 1; k < KIDS; k++)
		if (!MUST(fork()))
			kid(k, up);
	for (int k = 1; k <= KIDS; k++)
		while (!up[k])
			h_sleep(MS);
	ready();

	while (wait_check()) {
		contents(0);
		look_file("file", named, both, 3);
		look_file("deleted file", deleted, both, 4);
		for (int i = 0; i < FILES; i++) {
			snprintf(name, sizeof name, "/tmp/bulk/link.%d", i);
			snprintf(target, sizeof target, "to.%d", i);
			ssize_t n = readlink(name, (char *)got, 64);
			CHECK(n == (ssize_t)strlen(target) && !memcmp(got, target, (size_t)n), "%s leads elsewhere", name);
		}
		CHECK(read(queue[0], got, QUEUED) == QUEUED && !memcmp(got, text, QUEUED), "the pipe has something else in it");
		CHECK(write(queue[1], text, QUEUED) == QUEUED, "fill the pipe again: %s", strerror(errno));
		for (int k = 1; k <= KIDS; k++)
			h_collect(names[k]);
	}
	return 0;
}

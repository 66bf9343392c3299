/*
 * State: memfds: names, seals of every kind, sizes with holes, positions, one mapped shared and write-sealed for the
 * future, two descriptions of one memfd, one in a child's hands, executable ones, with the descriptor closed; a program
 * that runs from a memfd.
 * Wrong could go: the seals (they must come after the content), F_SEAL_FUTURE_WRITE with a writable map that was there
 * before, the name as /proc shows it, two descriptions that become two memfds.
 */
#include "harness.h"
#include <linux/memfd.h>
#include <sys/wait.h>

#ifndef MFD_EXEC /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x8U
#define MFD_EXEC 0x10U
#define F_SEAL_EXEC 0x20
#endif
#define P 4096UL
struct mfd { const char *name; unsigned flags; int seals; size_t size; int fd; char *map; };
static struct mfd fds[] = {
	{"plain", 0, -1, 5 * P + 7, 0, 0},
	{"cloexec", MFD_CLOEXEC | MFD_ALLOW_SEALING, 0, 0, 0, 0},
	{"write sealed", MFD_ALLOW_SEALING, F_SEAL_WRITE | F_SEAL_SHRINK, 3 * P, 0, 0},
	{"grow", MFD_ALLOW_SEALING, F_SEAL_GROW, 2 * P, 0, 0},
	{"all", MFD_ALLOW_SEALING, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, P, 0, 0},
	{"future", MFD_ALLOW_SEALING, F_SEAL_FUTURE_WRITE, 8 * P, 0, 0},
	{"exec", MFD_EXEC, -1, P, 0, 0},
	{"noexec", MFD_NOEXEC_SEAL, F_SEAL_EXEC, P, 0, 0},
	{"sparse", 0, -1, 1UL << 32, 0, 0},
	{"a name / with (deleted)\n and \\", 0, -1, P, 0, 0},
};
enum { N = sizeof fds / sizeof *fds, FUTURE = 5, SPARSE = 8 };

static int seals_of(int fd) { return fcntl(fd, F_GET_SEALS); }

/* runs is the program that was executed from a memfd, as runc does it; fd 100 is that memfd, open for writing. */
static void runs(const char *nonce)
{
	char link[100] = {0};
	h.nonce = strtoull(nonce, NULL, 16);
	h_setup();
	h_part("executed");
	h_write("executed", "");
	while (wait_check()) {
		CHECK(readlink("/proc/self/exe", link, sizeof link - 1) > 0 && !strcmp(link, "/memfd:program (deleted)"), "the program is %s", link);
		CHECK(h_flags(100) == O_RDWR && lseek(100, 0, SEEK_END) > 100000, "its descriptor");
		CHECK(open("/proc/self/exe", O_WRONLY) < 0 && errno == ETXTBSY, "the program that runs can be opened for writing");
	}
	_exit(0);
}
static void execute(void)
{
	static char copy[1 << 21];
	char nonce[32], path[300];
	int from = MUST(open("/proc/self/exe", O_RDONLY)), to = MUST(memfd_create("program", MFD_CLOEXEC));
	for (ssize_t n; (n = MUST(read(from, copy, sizeof copy))) > 0;)
		MUST(write(to, copy, (size_t)n));
	close(from);
	MUST(dup2(to, 100));
	snprintf(nonce, sizeof nonce, "%llx", (unsigned long long)h.nonce);
	if (!MUST(fork())) {
		fexecve(to, (char *[]){"program", nonce, NULL}, environ);
		DIE("fexecve");
	}
	close(to), close(100);
	snprintf(path, sizeof path, "%sexecuted", h.prefix);
	if (!WAIT_FOR(!access(path, F_OK)))
		DIE("the program in the memfd does not run");
}

int main(int argc, char **argv)
{
	static char buf[1 << 16];
	char path[64], link[400], want[400];
	if (argc > 1 && !strcmp(argv[0], "program"))
		runs(argv[1]);
	h_init();
	execute();
	for (int i = 0; i < N; i++) {
		struct mfd *m = &fds[i];
		m->fd = memfd_create(m->name, m->flags);
		if (m->fd < 0 && errno == EINVAL && (m->flags & (MFD_EXEC | MFD_NOEXEC_SEAL)))
			m->flags = 0, m->seals = -1, m->fd = memfd_create(m->name, 0); /* before 6.3 */
		if (m->fd < 0)
			DIE("memfd_create %s", m->name);
		MUST(ftruncate(m->fd, (off_t)m->size));
		fill(buf, sizeof buf, (uint64_t)i);
		if (m->size)
			MUST(pwrite(m->fd, buf, i == SPARSE ? P : m->size, i == SPARSE ? 3LL << 30 : 0));
		MUST(lseek(m->fd, 11 * i, SEEK_SET));
		if (i == FUTURE) /* maps made before the seal stay writable */
			m->map = MUST(mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0));
		if (m->seals > 0 && !(m->flags & MFD_NOEXEC_SEAL))
			MUST(fcntl(m->fd, F_ADD_SEALS, m->seals));
		m->seals = seals_of(m->fd);
	}
	int copy = MUST(dup(fds[0].fd));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fds[0].fd);
	int other = MUST(open(path, O_RDONLY)); /* a second description */
	int gone = MUST(memfd_create("descriptor closed", 0));
	MUST(ftruncate(gone, 4 * (off_t)P));
	char *map = MUST(mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0)), *priv = MUST(mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, gone, 0));
	fill(map, 2 * P, 50), fill(priv + P, P, 51);
	close(gone);
	if (!MUST(fork())) {
		h_part("child");
		while (wait_check()) {
			CHECK(verify(map, P, 50) < 0 && verify(priv + P, P, 51) < 0, "the memfd without a descriptor");
			CHECK(WAIT_FOR(map[3 * P] == (char)h.check), "what the parent writes does not show");
			CHECK(lseek(copy, 0, SEEK_CUR) == 0, "the position");
			fds[FUTURE].map[5 * P] = (char)h.check;
		}
		_exit(0);
	}
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			struct mfd *m = &fds[i];
			struct stat st;
			CHECK(seals_of(m->fd) == m->seals, "%s: seals %x, not %x", m->name, seals_of(m->fd), m->seals);
			CHECK(!fstat(m->fd, &st) && st.st_size == (off_t)m->size && st.st_nlink == 0, "%s: size %ld", m->name, (long)st.st_size);
			CHECK((st.st_mode & 07777) == (m->flags & MFD_NOEXEC_SEAL ? 0666 : 0777), "%s: mode %o", m->name, st.st_mode);
			CHECK(lseek(m->fd, 0, SEEK_CUR) == 11 * i, "%s: position %ld", m->name, (long)lseek(m->fd, 0, SEEK_CUR));
			CHECK(fcntl(m->fd, F_GETFD) == (m->flags & MFD_CLOEXEC ? FD_CLOEXEC : 0) && h_flags(m->fd) == O_RDWR, "%s: flags %o", m->name, h_flags(m->fd));
			snprintf(path, sizeof path, "/proc/self/fd/%d", m->fd), snprintf(want, sizeof want, "/memfd:%s (deleted)", m->name);
			memset(link, 0, sizeof link);
			CHECK(readlink(path, link, sizeof link - 1) > 0 && !strcmp(link, want), "%s: its name is %s", m->name, link);
			size_t n = i == SPARSE ? P : m->size;
			memset(buf, 0, n);
			size_t known = i == FUTURE ? 5 * P : i == 2 ? 3 * P : n; /* the child writes behind; zeros grew behind */
			if (n)
				CHECK(pread(m->fd, buf, n, i == SPARSE ? 3LL << 30 : 0) == (ssize_t)n && verify(buf, known, (uint64_t)i) < 0, "%s: content", m->name);
		}
		struct stat st;
		CHECK(!fstat(fds[SPARSE].fd, &st) && st.st_blocks <= 8, "the sparse one takes %ld blocks", (long)st.st_blocks);
		CHECK(write(fds[2].fd, "x", 1) < 0 && errno == EPERM && ftruncate(fds[2].fd, 0) < 0 && !ftruncate(fds[2].fd, 5 * P) && ftruncate(fds[2].fd, 3 * P) < 0, "the write seal");
		fds[2].size = 5 * P; /* it may grow, and shrinks no more */
		CHECK(ftruncate(fds[3].fd, 10 * P) < 0 && errno == EPERM && fcntl(fds[4].fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM, "the grow and the seal seal");
		CHECK(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED, fds[FUTURE].fd, 0) == MAP_FAILED && write(fds[FUTURE].fd, "x", 1) < 0, "the future write seal");
		CHECK(verify(fds[FUTURE].map, 5 * P, FUTURE) < 0, "the map made before the seal");
		CHECK(fcntl(fds[1].fd, F_ADD_SEALS, 0) == 0 && fcntl(fds[0].fd, F_ADD_SEALS, 0) < 0 && errno == EPERM, "sealing is allowed where it was not, or forbidden where it was allowed");
		CHECK(lseek(copy, 0, SEEK_CUR) == 0 && lseek(copy, 5, SEEK_SET) == 5 && lseek(fds[0].fd, 0, SEEK_CUR) == 5 && !lseek(copy, 0, SEEK_SET), "the dup is another description");
		char was, c = (char)h.check, r = 0;
		CHECK(pread(fds[0].fd, &was, 1, 99) == 1 && pwrite(copy, &c, 1, 99) == 1 && pread(other, &r, 1, 99) == 1 && r == c && h_flags(other) == O_RDONLY && pwrite(copy, &was, 1, 99) == 1, "two descriptions of one memfd are two memfds");
		CHECK(lseek(other, 0, SEEK_CUR) == 0 && write(other, "x", 1) < 0 && errno == EBADF, "the read-only description");
		map[3 * P] = (char)h.check;
		CHECK(priv[3 * P] == (char)h.check && verify(priv + P, P, 51) < 0, "the private map of it");
		h_collect("child"), h_collect("executed");
		CHECK(fds[FUTURE].map[5 * P] == (char)h.check, "what the child writes does not show");
	}
	return 0;
}

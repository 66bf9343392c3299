/*
 * State: memfds: names, seals of every kind, sizes with holes, positions, one mapped shared and write-sealed for the
 * future, two descriptions of one memfd, one in a child's hands, executable ones, with the descriptor closed.
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

int main(void)
{
	static char buf[1 << 16];
	char path[64], link[400], want[400];
	h_init();
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
		h_collect("child");
		CHECK(fds[FUTURE].map[5 * P] == (char)h.check, "what the child writes does not show");
	}
	return 0;
}

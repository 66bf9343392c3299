/*
 * State: files mapped privately (clean, dirty, zeroed pages) and shared, at offsets, beyond the end of the file, of
 * deleted files (also renamed ones), with the descriptor closed, executable, and read-only maps of a file now changed.
 * Wrong could go: a dirty private page written into the file or read back from it, clean pages saved at great cost (RSS
 * is not state), SIGBUS beyond the end lost, a deleted file's map cut from its descriptor.
 */
#include "harness.h"
#include <setjmp.h>
#include <sys/wait.h>

#define P 4096UL
static char base[128];
static sigjmp_buf fault;
static void on_fault(int sig) { siglongjmp(fault, sig); }
static int faults(volatile char *p)
{
	int sig = sigsetjmp(fault, 1);
	if (!sig)
		(void)*p;
	return sig;
}
static int make(const char *name, size_t pages, int seed, int extra)
{
	static char page[P];
	char path[200];
	snprintf(path, sizeof path, "%s/%s", base, name);
	int fd = MUST(open(path, O_RDWR | O_CREAT | O_TRUNC, 0755));
	for (size_t i = 0; i < pages; i++) {
		fill(page, P, (uint64_t)seed * 1000 + i);
		MUST(write(fd, page, P));
	}
	if (extra)
		MUST(ftruncate(fd, (off_t)(pages * P) + extra));
	return fd;
}
static char *map(int fd, size_t pages, size_t off, int prot, int flags) { return MUST(mmap(NULL, pages * P, prot, flags, fd, (off_t)(off * P))); }
/* line copies maps' line of an address, from the protection on, without device and inode */
static void line(void *addr, char *out)
{
	static char text[1 << 16];
	unsigned long a, b, off;
	char perm[8] = "", name[256] = "";
	h_slurp("/proc/self/maps", text, sizeof text);
	out[0] = 0;
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
		if (name[0] = 0, sscanf(l, "%lx-%lx %4s %lx %*s %*s %255[^\n]", &a, &b, perm, &off, name) >= 4 && a <= (uintptr_t)addr && (uintptr_t)addr < b)
			sprintf(out, "%lx-%lx %s %lx %s", a, b, perm, off, name);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_fault};
	char path[200], to[200];
	h_init();
	sigaction(SIGBUS, &sa, NULL), sigaction(SIGSEGV, &sa, NULL);
	snprintf(base, sizeof base, "/tmp/filemap.%d", getpid());
	MUST(mkdir(base, 0755));

	int fd = make("private", 64, 1, 0);
	char *priv = map(fd, 64, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (size_t i = 0; i < 64; i += 4) /* dirty, and zeroed by hand */
		fill(priv + i * P, P, 90000 + i), memset(priv + (i + 1) * P, 0, P);
	MUST(madvise(priv + 60 * P, P, MADV_DONTNEED)); /* dropped: the file shows again */
	char *rest = map(fd, 20, 30, PROT_READ, MAP_PRIVATE);
	close(fd);
	fd = make("shared", 64, 2, 0);
	char *shared = map(fd, 64, 0, PROT_READ | PROT_WRITE, MAP_SHARED), *again = map(fd, 16, 8, PROT_READ, MAP_SHARED);
	fill(shared + 10 * P, P, 91000);
	close(fd);
	int tailfd = make("tail", 2, 3, 100); /* a page and a bit, mapped for eight pages */
	char *tail = map(tailfd, 8, 0, PROT_READ | PROT_WRITE, MAP_SHARED), *ptail = map(tailfd, 8, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	fill(ptail, P, 92000);
	fill(ptail + 2 * P + 100, 200, 92001); /* behind the end, in its last page */
	int delfd = make("deleted", 32, 4, 0), lonefd = make("lone", 32, 5, 0), renfd = make("renamed", 8, 6, 0);
	char *del = map(delfd, 32, 0, PROT_READ | PROT_WRITE, MAP_SHARED), *lone = map(lonefd, 32, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *lonepriv = map(lonefd, 32, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE), *ren = map(renfd, 8, 0, PROT_READ, MAP_SHARED);
	fill(lonepriv + 3 * P, P, 93000);
	close(lonefd), close(renfd);
	snprintf(path, sizeof path, "%s/deleted", base), MUST(unlink(path));
	snprintf(path, sizeof path, "%s/lone", base), MUST(unlink(path));
	snprintf(path, sizeof path, "%s/renamed", base), snprintf(to, sizeof to, "%s/new name\n(deleted)", base), MUST(rename(path, to));
	int codefd = make("code", 1, 7, 0);
	MUST(pwrite(codefd, "\xb8\x39\x05\x00\x00\xc3", 6, 0));
	char *code = map(codefd, 1, 0, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	close(codefd);
	snprintf(path, sizeof path, "%s/shared", base);
	fd = MUST(open(path, O_RDONLY));
	char *ro = map(fd, 4, 0, PROT_READ, MAP_SHARED); /* a read-only descriptor: may not become writable */
	close(fd);
	int zerofd = MUST(open("/dev/zero", O_RDWR));
	char *zero = map(zerofd, 4, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	fill(zero, P, 94000);
	close(zerofd);
	void *all[] = {priv, rest, shared, again, tail, ptail, del, lone, lonepriv, ren, code, ro, zero};
	enum { N = sizeof all / sizeof *all };
	static char lines[N][512], now[512];
	for (int i = 0; i < N; i++)
		line(all[i], lines[i]);
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			line(all[i], now);
			CHECK(!strcmp(now, lines[i]), "map %d was %s, is %s", i, lines[i], now);
		}
		for (size_t i = 0; i < 64; i++)
			CHECK(i % 4 == 1	       ? !*(volatile char *)(priv + i * P + 77) && !memcmp(priv + i * P, priv + i * P + 1, P - 1)
			      : i % 4 == 0 && i != 60 ? verify(priv + i * P, P, 90000 + i) < 0
						      : verify(priv + i * P, P, 1000 + i) < 0,
			      "private page %zu", i);
		for (size_t i = 0; i < 20; i++)
			CHECK(verify(rest + i * P, P, 1030 + i) < 0, "the other private map, page %zu: dirty pages went into the file", i);
		for (size_t i = 0; i < 64; i++)
			CHECK(verify(shared + i * P, P, i == 10 ? 91000 : 2000 + i) < 0, "shared page %zu", i);
		CHECK(again[0] == shared[8 * P], "two maps of a file differ");
		shared[9 * P]++;
		CHECK(again[P] == shared[9 * P], "a change of the shared map does not show in the other");
		snprintf(path, sizeof path, "%s/shared", base);
		fd = open(path, O_RDONLY);
		char c = 0;
		CHECK(pread(fd, &c, 1, 9 * P) == 1 && c == shared[9 * P], "nor in the file");
		close(fd);
		shared[9 * P]--;
		CHECK(verify(tail, P, 3000) < 0 && verify(tail + P, P, 3001) < 0 && faults(tail + 3 * P) == SIGBUS && faults(ptail + 3 * P) == SIGBUS, "map beyond the end: no SIGBUS");
		CHECK(verify(ptail, P, 92000) < 0 && verify(ptail + 2 * P + 100, 200, 92001) < 0 && !tail[2 * P + 5], "private map beyond the end");
		struct stat st;
		CHECK(!fstat(tailfd, &st) && st.st_size == 2 * (off_t)P + 100, "the file's size is now %ld", (long)st.st_size);
		for (size_t i = 0; i < 32; i++) {
			CHECK(verify(del + i * P, P, 4000 + i) < 0 && verify(lone + i * P, P, 5000 + i) < 0, "deleted file, page %zu", i);
			CHECK(verify(lonepriv + i * P, P, i == 3 ? 93000 : 5000 + i) < 0, "private map of a deleted file, page %zu", i);
		}
		del[5]++, lone[7]++;
		CHECK(pread(delfd, &c, 1, 5) == 1 && c == del[5], "a deleted file's map and descriptor have parted");
		CHECK(lonepriv[7] == lone[7], "two maps of a deleted file have parted");
		del[5]--, lone[7]--;
		CHECK(!fstat(delfd, &st) && st.st_nlink == 0, "the deleted file has %lu names", (unsigned long)st.st_nlink);
		CHECK(verify(ren, P, 6000) < 0 && ((int (*)(void))(uintptr_t)code)() == 1337, "renamed, code");
		CHECK(mprotect(ro, P, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "the read-only shared map may be made writable");
		CHECK(verify(zero, P, 94000) < 0 && !zero[P], "the map of /dev/zero");
	}
	return 0;
}

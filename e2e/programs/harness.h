/*
 * harness.h: how a test program talks to the test that checkpoints it (README.md has the protocol).
 *
 * Everything goes through plain files in the state directory, polled, so that the protocol itself holds no
 * kernel state that a checkpoint could spoil. Calls are raw where glibc would use the vdso: vdso.c moves it.
 * The gaps seen by the poll loop tell how long the program was away: relative timeouts must not count them.
 */
#ifndef HARNESS_H
#define HARNESS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL
#define SEC 1000000000LL
#define H_GAPS 256

/* One stretch of monotonic time in which this process did not run. */
struct h_gap {
	int64_t from, to;
	int restored; /* our start time changed: a restore, not just a busy machine */
};

static struct {
	uint64_t nonce, start;
	int check, dirfd, eintr_ok, lock, ngaps, restores, looks;
	const char *part; /* name of a helper process, NULL in the main one */
	char prefix[256], fail[16384];
	int64_t last;
	struct h_gap gaps[H_GAPS];
} h = {.dirfd = AT_FDCWD};

static inline int64_t h_clock(int id)
{
	struct timespec t;
	syscall(SYS_clock_gettime, id, &t);
	return t.tv_sec * SEC + t.tv_nsec;
}
static inline int64_t h_now(void) { return h_clock(CLOCK_MONOTONIC); }

/* h_fail records a failure for the next result; any thread may call it at any time. */
__attribute__((format(printf, 1, 2))) static inline void h_fail(const char *fmt, ...)
{
	va_list ap;
	while (__atomic_exchange_n(&h.lock, 1, __ATOMIC_ACQUIRE))
		;
	size_t n = strlen(h.fail);
	if (n < sizeof h.fail - 600) {
		n += (size_t)sprintf(h.fail + n, "FAIL: %s%s", h.part ? h.part : "", h.part ? ": " : "");
		va_start(ap, fmt);
		vsnprintf(h.fail + n, 500, fmt, ap);
		va_end(ap);
		strcat(h.fail, "\n");
	}
	__atomic_store_n(&h.lock, 0, __ATOMIC_RELEASE);
}
#define CHECK(cond, ...) do { if (!(cond)) h_fail(__VA_ARGS__); } while (0)

/* h_write makes a file of the state directory appear at once with its whole content. */
static inline void h_write(const char *name, const char *text)
{
	char tmp[400], dst[400];
	snprintf(tmp, sizeof tmp, "%s.%s.%s", h.prefix, name, "tmp");
	snprintf(dst, sizeof dst, "%s%s", h.prefix, name);
	int fd = openat(h.dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", tmp, strerror(errno));
	close(fd);
	if (renameat(h.dirfd, tmp, h.dirfd, dst) < 0)
		fprintf(stderr, "%s: %s\n", dst, strerror(errno));
}
static inline void h_setup(void)
{
	const char *dir = getenv("STATE_DIR");
	if (!h.prefix[0] && h.dirfd == AT_FDCWD)
		snprintf(h.prefix, sizeof h.prefix, "%s/", dir ? dir : "/state");
}
/* h_stop ends the program before it is ready: the state cannot be built ("failed") or not here ("skip"). */
__attribute__((noreturn, format(printf, 2, 3))) static inline void h_stop(const char *file, const char *fmt, ...)
{
	char text[600];
	va_list ap;
	int e = errno;
	va_start(ap, fmt);
	int n = vsnprintf(text, 500, fmt, ap);
	va_end(ap);
	snprintf(text + n, sizeof text - (size_t)n, ": %s\n", strerror(e));
	h_setup();
	h_write(file, text);
	fputs(text, stderr);
	exit(strcmp(file, "skip") ? 1 : 0);
}
#define DIE(...) h_stop("failed", __VA_ARGS__)
#define SKIP(...) h_stop("skip", __VA_ARGS__)
#define MUST(expr) ({ __typeof__(expr) r_ = (expr); if ((long)r_ == -1) DIE("%s:%d: %s", __FILE__, __LINE__, #expr); r_; })

static inline void h_sleep(int64_t ns)
{
	struct timespec t = {ns / SEC, ns % SEC};
	while (syscall(SYS_nanosleep, &t, &t) < 0 && errno == EINTR)
		;
}
/* WAIT_FOR waits at most five seconds for something that another task does. */
#define WAIT_FOR(cond) ({ int i_ = 0, ok_; while (!(ok_ = !!(cond)) && i_++ < 5000) h_sleep(MS); ok_; })

/* h_slurp reads a (proc) file; the text is terminated. Returns its length, or -1. */
static inline ssize_t h_slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r = -1;
	while (fd >= 0 && n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
		n += (size_t)r;
	if (fd >= 0)
		close(fd);
	buf[n] = 0;
	return r < 0 ? -1 : (ssize_t)n;
}
/* h_field copies what follows "KEY:" in a proc file. Returns 0 when there is no such line. */
static inline int h_field(const char *path, const char *key, char *out, size_t size)
{
	static __thread char text[16384];
	char *p = text - 1;
	size_t k = strlen(key);
	out[0] = 0;
	if (h_slurp(path, text, sizeof text) < 0)
		return 0;
	for (p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (!strncmp(p, key, k) && p[k] == ':') {
			p += k + 1 + strspn(p + k + 1, " \t");
			snprintf(out, size, "%.*s", (int)strcspn(p, "\n"), p);
			return 1;
		}
	return 0;
}
/* h_stat returns field number n (as proc(5) counts, from 3 on) of /proc/PID/stat. */
static inline unsigned long long h_stat(const char *path, int n)
{
	char text[2048], *p;
	if (h_slurp(path, text, sizeof text) <= 0 || !(p = strrchr(text, ')')))
		return 0;
	for (p += 2; n > 3 && p; n--)
		p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL;
	return !p ? 0 : *p >= 'A' ? (unsigned long long)*p : strtoull(p, NULL, 10);
}

/* h_flags is F_GETFL without O_LARGEFILE, which the kernel sets by itself and glibc defines as 0. */
static inline int h_flags(int fd) { return fcntl(fd, F_GETFL) & ~0100000; }

/* fill and verify: bytes that follow from the nonce and a seed, so only this very process knows them. */
static inline uint64_t h_word(uint64_t seed, uint64_t i)
{
	uint64_t z = h.nonce + seed * 0x9e3779b97f4a7c15ULL + i * 0xd1342543de82ef95ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
static inline void fill(void *buf, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(h_word(seed, i / 8) >> i % 8 * 8);
}
/* verify returns -1 when all is as filled, else the offset of the first byte that differs. */
static inline long verify(const void *buf, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)buf)[i] != (uint8_t)(h_word(seed, i / 8) >> i % 8 * 8))
			return (long)i;
	return -1;
}

/* h_tick notes how long we were away since the last tick; h.looks counts them, at most one in 20 ms, fewer where processors are short. */
static inline void h_tick(void)
{
	int64_t now = h_now();
	uint64_t start = h_stat("/proc/self/stat", 22);
	h.looks++;
	if (now - h.last > 100 * MS || start != h.start) {
		h.gaps[h.ngaps++ % H_GAPS] = (struct h_gap){h.last, now - 20 * MS, start != h.start};
		h.restores += start != h.start;
		h.start = start;
	}
	h.last = h_now();
}
/* h_away returns how much of the time from..to (monotonic ns) the process did not run; restores only, or all. */
static inline int64_t h_away(int64_t from, int64_t to, int restored)
{
	int64_t sum = 0;
	for (int i = 0; i < h.ngaps && i < H_GAPS; i++) {
		int64_t a = h.gaps[i].from > from ? h.gaps[i].from : from, b = h.gaps[i].to < to ? h.gaps[i].to : to;
		if (b > a && (!restored || h.gaps[i].restored))
			sum += b - a;
	}
	return sum;
}
/* h_foreign tells whether this is a user namespace other than the machine's first one. */
static inline int h_foreign(void)
{
	unsigned in = 0, out = 0, count = 0;
	FILE *f = fopen("/proc/self/uid_map", "r");
	int first = !f || fscanf(f, "%u %u %u", &in, &out, &count) != 3 || (!in && !out && count == ~0u);
	if (f)
		fclose(f);
	return !first;
}

/* h_init draws the nonce; needed before fill() and fork(). ready() does it otherwise. */
static inline void h_init(void)
{
	h_setup();
	while (!h.nonce)
		MUST(getrandom(&h.nonce, sizeof h.nonce, 0));
}
static inline void ready(void)
{
	char text[32];
	h_init();
	h.start = h_stat("/proc/self/stat", 22);
	snprintf(text, sizeof text, "%016llx\n", (unsigned long long)h.nonce);
	h_write("ready", text);
	h.last = h_now();
}
/* h_part makes a forked helper process take part under a name of its own. */
static inline void h_part(const char *name)
{
	h.part = name;
	h.check = 0;
	h.fail[0] = 0;
	h.start = h_stat("/proc/self/stat", 22);
	h.last = h_now();
}
/* PARTS waits for the results of the named helper processes and adds their failures. */
static inline void h_collect(const char *name)
{
	char path[300], text[4096], want[64];
	snprintf(path, sizeof path, "%spart.%d.%s", h.prefix, h.check, name);
	snprintf(want, sizeof want, "ok %016llx\n", (unsigned long long)h.nonce);
	if (!WAIT_FOR(faccessat(h.dirfd, path, F_OK, 0) == 0))
		return h_fail("%s: no answer within five seconds", name);
	int fd = openat(h.dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	unlinkat(h.dirfd, path, 0); /* when the same image is restored again the part answers anew */
	CHECK(!strcmp(text, want), "part %s says: %.400s", name, text);
}
/* wait_check writes the result of the last check, if any, and waits for the next. Returns 0 to end. */
static inline int wait_check(void)
{
	char name[64], path[300], quit[300], text[sizeof h.fail + 40];
	if (h.check) {
		snprintf(name, sizeof name, h.part ? "part.%d.%s" : "result.%d", h.check, h.part);
		snprintf(text, sizeof text, "ok %016llx\n", (unsigned long long)h.nonce);
		h_write(name, h.fail[0] ? h.fail : text);
		h.fail[0] = 0;
	}
	h.check++;
	snprintf(path, sizeof path, "%scheck.%d", h.prefix, h.check);
	snprintf(quit, sizeof quit, "%squit", h.prefix);
	while (faccessat(h.dirfd, path, F_OK, 0)) {
		h_tick();
		struct timespec t = {0, 20 * MS};
		int64_t from = h_now();
		long r = syscall(SYS_nanosleep, &t, NULL);
		CHECK(r == 0 || (errno == EINTR && h.eintr_ok), "the poll's nanosleep: %s", strerror(errno));
		CHECK(r < 0 || h_now() - from >= 20 * MS, "the poll's nanosleep ended early");
		if (!faccessat(h.dirfd, quit, F_OK, 0) || faccessat(h.dirfd, h.prefix[0] ? h.prefix : ".", F_OK, 0))
			return 0; /* told to, or the directory itself is gone */
	}
	h_tick();
	return 1;
}
#endif

/*
 * State: private anonymous memory with data, zeros and untouched parts; PROT_NONE over data; neighbours that differ
 * in protection only; holes; brk; a deep stack and a GROWSDOWN mapping; each madvise and mlock flag; VMA names.
 * Wrong could go: mappings merged or split, a flag lost (smaps' VmFlags are compared whole), zero pages that come back
 * populated, data under PROT_NONE lost, brk or stack that can grow no more, code pages.
 */
#include "harness.h"
#include <setjmp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define P 4096UL
#define MB (1UL << 20)
struct area {
	const char *name;
	size_t size;
	int prot, map, advice, seed;
	char *addr;
};
static struct area areas[] = {
	{"plain", 3 * MB, PROT_READ | PROT_WRITE, 0, -1, 1, 0},
	{"readonly", 16 * P, PROT_READ, 0, -1, 2, 0},
	{"writeonly", 16 * P, PROT_WRITE, 0, -1, 3, 0},
	{"none", 64 * P, PROT_NONE, 0, -1, 4, 0},
	{"rwx", 16 * P, PROT_READ | PROT_WRITE | PROT_EXEC, 0, -1, 5, 0},
	{"noreserve", 32 * P, PROT_READ | PROT_WRITE, MAP_NORESERVE, -1, 6, 0},
	{"locked", 4 * P, PROT_READ | PROT_WRITE, MAP_LOCKED, -1, 7, 0},
	{"growsdown", 16 * P, PROT_READ | PROT_WRITE, MAP_GROWSDOWN, -1, 8, 0},
	{"stack", 16 * P, PROT_READ | PROT_WRITE, MAP_STACK, -1, 9, 0},
	{"dontfork", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_DONTFORK, 10, 0},
	{"dontdump", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_DONTDUMP, 11, 0},
	{"wipeonfork", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_WIPEONFORK, 12, 0},
	{"mergeable", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_MERGEABLE, 13, 0},
	{"hugepage", 4 * MB, PROT_READ | PROT_WRITE, 0, MADV_HUGEPAGE, 14, 0},
	{"nohugepage", 4 * MB, PROT_READ | PROT_WRITE, 0, MADV_NOHUGEPAGE, 15, 0},
	{"sequential", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_SEQUENTIAL, 16, 0},
	{"random", 16 * P, PROT_READ | PROT_WRITE, 0, MADV_RANDOM, 17, 0},
	{"relro", 16 * P, PROT_READ | PROT_WRITE, 0, -1, 18, 0}, /* every other page read-only */
	{"holed", 32 * P, PROT_READ | PROT_WRITE, 0, -1, 19, 0}, /* pages 8-15 unmapped */
	{"huge-none", 4096 * MB, PROT_NONE, MAP_NORESERVE, -1, 0, 0},
	{"untouched", 64 * MB, PROT_READ | PROT_WRITE, 0, -1, 0, 0},
};
#define N (sizeof areas / sizeof *areas)
static char shot[2][1 << 18], line_buf[1 << 18];
static char *heap, *half_heap;
static sigjmp_buf fault;

static void on_fault(int sig) { siglongjmp(fault, sig); }
static int faults(volatile char *p, int write)
{
	int sig = sigsetjmp(fault, 1);
	if (!sig) {
		if (write)
			*p = *p;
		else
			(void)*p;
	}
	return sig;
}
/* snapshot keeps, of each mapping, the line of maps without device and inode, the VmFlags and the protection key */
static void snapshot(char *out)
{
	char *o = out;
	unsigned long a, b, off;
	char perm[8], name[256];
	if (h_slurp("/proc/self/smaps", line_buf, sizeof line_buf) <= 0)
		return h_fail("smaps: %s", strerror(errno));
	for (char *l = strtok(line_buf, "\n"); l; l = strtok(NULL, "\n")) {
		if (sscanf(l, "%lx-%lx %4s %lx %*s %*s %255[^\n]", &a, &b, perm, &off, (name[0] = 0, name)) >= 4) {
			if (strstr(name, "[stack]"))
				a = 0; /* may grow in between */
			o += sprintf(o, "%lx-%lx %s %lx %s ", a, b, perm, off, name);
		} else if (!strncmp(l, "VmFlags:", 8)) {
			char *dirty = strstr(l, " sd"); /* soft-dirty is the kernel's own affair */
			if (dirty)
				memmove(dirty, dirty + 3, strlen(dirty + 3) + 1);
			o += sprintf(o, "%s\n", l + 9);
		} else if (!strncmp(l, "Locked:", 7) && strcmp(name, "[stack]")) {
			o += sprintf(o, "%s ", l);
		}
	}
}
static void compare(void)
{
	char *x = shot[0], *y = shot[1];
	snapshot(shot[1]);
	for (int n = 0; strcmp(x, y) && n < 8;) { /* show the first lines that differ */
		size_t i = strcspn(x, "\n"), j = strcspn(y, "\n");
		if (i != j || strncmp(x, y, i)) {
			h_fail("mapping was %.*s, is %.*s", (int)i, x, (int)j, y);
			n++;
		}
		x += i + !!x[i], y += j + !!y[j];
	}
}
static size_t resident(char *p, size_t len)
{
	static unsigned char vec[32768];
	size_t n = 0;
	if (mincore(p, len, vec))
		return (size_t)-1;
	for (size_t i = 0; i < len / P; i++)
		n += vec[i] & 1;
	return n;
}
static __attribute__((noinline)) int deep(int n)
{
	volatile char frame[1024];
	frame[0] = (char)n;
	return n ? deep(n - 1) + (frame[0] == (char)n) : 1;
}
static void build(void)
{
	for (size_t i = 0; i < N; i++) {
		struct area *a = &areas[i];
		/* apart from each other, so that none merges */
		char *room = MUST(mmap(NULL, a->size + 4 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
		MUST(munmap(room, a->size + 4 * MB));
		a->addr = (char *)(((uintptr_t)room + 2 * MB + P) & ~(2 * MB - 1));
		a->addr = mmap(a->addr, a->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | a->map | MAP_FIXED, -1, 0);
		if (a->addr == MAP_FAILED)
			DIE("map %s", a->name);
		if (a->advice >= 0 && madvise(a->addr, a->size, a->advice))
			fprintf(stderr, "madvise %s: %s\n", a->name, strerror(errno));
		if (a->seed)
			fill(a->addr, a->size, (uint64_t)a->seed);
		if (strcmp(a->name, "untouched"))
			prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, a->addr, a->size, a->name);
		MUST(mprotect(a->addr, a->size, a->prot));
		for (size_t p = 0; p < 16 && !strcmp(a->name, "relro"); p += 2)
			MUST(mprotect(a->addr + p * P, P, PROT_READ));
		if (!strcmp(a->name, "holed"))
			MUST(munmap(a->addr + 8 * P, 8 * P));
		if (!strcmp(a->name, "plain")) {
			memset(a->addr + 100 * P, 0, 100 * P);	      /* zeros, populated */
			MUST(madvise(a->addr + 300 * P, 100 * P, MADV_DONTNEED)); /* zeros, not populated */
		}
	}
	heap = MUST(sbrk(1 << 20));
	fill(heap, 1 << 20, 90);
	half_heap = malloc(100000); /* malloc's own arena, by brk; and by mmap below */
	fill(half_heap, 100000, 91);
	deep(2000);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_fault};
	h_init();
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	build();
	char *big = malloc(1 << 22), *brk_was = MUST(sbrk(0)), *code = areas[4].addr;
	fill(big, 1 << 22, 92);
	memcpy(code, "\xb8\x39\x05\x00\x00\xc3", 6); /* mov $1337, %eax; ret */
	snapshot(shot[0]);
	ready();

	while (wait_check()) {
		compare();
		for (size_t i = 0; i < N; i++) {
			struct area *a = &areas[i];
			if (!a->seed || !strcmp(a->name, "plain") || !strcmp(a->name, "holed") || a->addr == code)
				continue;
			if (!(a->prot & PROT_READ)) {
				CHECK(a->prot || faults(a->addr, 0) == SIGSEGV, "%s can be read", a->name);
				mprotect(a->addr, a->size, PROT_READ);
			}
			CHECK((a->prot & PROT_WRITE) || faults(a->addr, 1) == SIGSEGV, "%s can be written", a->name);
			CHECK(verify(a->addr, a->size, (uint64_t)a->seed) < 0, "%s: wrong from %lx on", a->name, verify(a->addr, a->size, (uint64_t)a->seed));
			mprotect(a->addr, a->size, a->prot);
			for (size_t p = 0; p < 16 && !strcmp(a->name, "relro"); p += 2) {
				mprotect(a->addr + p * P, P, PROT_READ);
				CHECK(faults(a->addr + p * P, 1) == SIGSEGV && !faults(a->addr + p * P + P, 1), "relro, page %zu", p);
			}
		}
		static char want[3 * MB];
		fill(want, sizeof want, 1);
		memset(want + 100 * P, 0, 100 * P);
		memset(want + 300 * P, 0, 100 * P);
		size_t res = resident(areas[0].addr + 300 * P, 100 * P);
		char always[64]; /* where memory is in huge pages unasked, a neighbour that is touched populates them */
		if (h_slurp("/sys/kernel/mm/transparent_hugepage/enabled", always, sizeof always) <= 0 || !strstr(always, "[always]"))
			CHECK(res == 0, "%zu of the discarded pages are populated", res);
		CHECK(!memcmp(areas[0].addr, want, 300 * P) && !memcmp(areas[0].addr + 400 * P, want + 400 * P, 3 * MB - 400 * P), "plain");
		res = resident(areas[N - 1].addr, 64 * MB);
		CHECK(res == 0, "%zu pages of the untouched mapping are populated", res);
		char *holed = areas[18].addr;
		CHECK(verify(holed, 8 * P, 19) < 0 && faults(holed + 8 * P, 0) && faults(holed + 16 * P - 1, 0), "holed");
		CHECK(((int (*)(void))(uintptr_t)code)() == 1337, "code in anonymous memory");
		CHECK(verify(heap, 1 << 20, 90) < 0 && verify(half_heap, 100000, 91) < 0 && verify(big, 1 << 22, 92) < 0, "heap");
		CHECK(sbrk(0) == brk_was, "brk is %p, not %p", sbrk(0), (void *)brk_was);
		CHECK(sbrk(1 << 20) == brk_was && !faults(brk_was + 1000, 1) && sbrk(-(1 << 20)) != (void *)-1, "the heap cannot grow");
		CHECK(deep(6000) == 6001, "the stack cannot grow");
		CHECK(!faults(areas[7].addr - P, 1), "the GROWSDOWN mapping cannot grow");
		munmap(areas[7].addr - P, P);
		CHECK(!memcmp((void *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4), "the vdso is not where it was");
		struct timespec t;
		CHECK(!clock_gettime(CLOCK_REALTIME, &t) && llabs(t.tv_sec * SEC + t.tv_nsec - h_clock(CLOCK_REALTIME)) < SEC, "the vdso's clock");
		pid_t child = fork();
		if (!child) { /* behaviour, not only flags */
			static const char zero[P];
			_exit(memcmp(areas[11].addr, zero, P) ? 1 : faults(areas[9].addr, 0) != SIGSEGV ? 2 : verify(areas[10].addr, P, 11) >= 0 ? 3 : 0);
		}
		int status = -1;
		CHECK(waitpid(child, &status, 0) == child && status == 0, "a fork says %x (1 wipeonfork, 2 dontfork, 3 data)", status);
		snapshot(shot[0]); /* what the checks themselves changed */
	}
	return 0;
}

/*
 * State: 8 MB that a parent and three generations of children have in common by fork; each changed some pages, the
 * parent some more after the forks; a child that dropped pages and one that unmapped a part. Four pages that one child
 * has changed, and that it and the parent have made read-only since.
 * Wrong could go: a child sees its parent's later changes or a sibling's; the pages are no longer shared, so that the
 * restored tree needs many times the memory: smaps says how much is Shared, and Rss, and what the sum of all Pss is.
 */
#include "harness.h"
#include <sys/wait.h>

#define P 4096UL
enum { PAGES = 2048, KIDS = 5 };
static char *area, *sealed;
static uint64_t sealed_seed = 60000;
static uint64_t seeds[PAGES]; /* what each page should hold here; 0 for zeros */
static long shared_was;
static volatile long *pss;

static void change(int from, int step, uint64_t seed)
{
	for (int i = from; i < PAGES; i += step) {
		seeds[i] = seed + (uint64_t)i;
		fill(area + (size_t)i * P, P, seeds[i]);
	}
}
static void contents(void)
{
	int wrong = 0;
	for (int i = 0; i < PAGES; i++)
		if (seeds[i] != ~0ULL)
			wrong += seeds[i] ? verify(area + (size_t)i * P, P, seeds[i]) >= 0 : area[(size_t)i * P] != 0;
	CHECK(verify(sealed, 4 * P, sealed_seed) < 0, "the read-only pages have another content");
	CHECK(!wrong, "%d pages have another content", wrong);
}
/* smaps adds up a value, in KB, of all mappings within the area */
static long smaps(const char *key)
{
	static char text[1 << 18];
	unsigned long a, b;
	long sum = 0;
	int in = 0;
	h_slurp("/proc/self/smaps", text, sizeof text);
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n")) {
		char perm[8];
		if (sscanf(l, "%lx-%lx %4s", &a, &b, perm) == 3)
			in = a >= (uintptr_t)area && b <= (uintptr_t)area + PAGES * P;
		else if (in && !strncmp(l, key, strlen(key)) && l[strlen(key)] == ':')
			sum += atol(l + strlen(key) + 1);
	}
	return sum;
}
static long shared(void) { return smaps("Shared_Clean") + smaps("Shared_Dirty"); }
static void measure(int who)
{
	long is = shared();
	/* pages with one content: some are unshared by chance (a page read by none), most must be shared as before */
	CHECK(is >= shared_was * 9 / 10, "%ld KB are shared with the others, %ld were: copy-on-write sharing is lost", is, shared_was);
	CHECK(is <= shared_was + 64, "%ld KB are shared with the others, only %ld were", is, shared_was);
	pss[who] = smaps("Pss");
}
static void live(int who, const char *name)
{
	h_part(name);
	while (wait_check()) {
		contents();
		measure(who);
	}
	_exit(0);
}

int main(void)
{
	static const char *const names[KIDS + 1] = {"", "same", "changed", "dropped", "grandchild", "between"};
	volatile int *up = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pss = (volatile long *)(up + 64);
	h_init();
	/* an unaligned start and no huge pages: sharing is by page */
	char *room = MUST(mmap(NULL, (PAGES + 2) * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	area = MUST(mmap(room + P, PAGES * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	MUST(madvise(area, PAGES * P, MADV_NOHUGEPAGE));
	change(0, 1, 10000);
	sealed = MUST(mmap(NULL, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	fill(sealed, 4 * P, sealed_seed);
	for (int k = 1; k <= KIDS; k++) {
		if (k == 4)
			continue; /* made by the fifth */
		if (!MUST(fork())) {
			if (k == 2) {
				change(3, 7, 20000);
				fill(sealed, 4 * P, ++sealed_seed);
				MUST(mprotect(sealed, 4 * P, PROT_READ));
			}
			if (k == 3) {
				MUST(madvise(area + 100 * P, 100 * P, MADV_DONTNEED));
				MUST(munmap(area + 1000 * P, 100 * P));
				for (int i = 0; i < 100; i++)
					seeds[100 + i] = 0, seeds[1000 + i] = ~0ULL;
			}
			if (k == 5) {
				change(5, 50, 30000);
				if (!MUST(fork())) {
					change(7, 50, 40000);
					up[4] = 1;
					k = 4;
				}
			}
			up[k] = 1;
			WAIT_FOR(up[0]);
			h_sleep(100 * MS);
			shared_was = shared();
			up[k] = 2;
			live(k, names[k]);
		}
		if (!WAIT_FOR(up[k]))
			DIE("child %s", names[k]);
	}
	MUST(mprotect(sealed, 4 * P, PROT_READ));
	change(11, 13, 50000); /* the parent's own, after the forks */
	up[0] = 1;
	for (int k = 1; k <= KIDS; k++)
		if (!WAIT_FOR(up[k] == 2))
			DIE("child %s", names[k]);
	shared_was = shared();
	ready();

	while (wait_check()) {
		contents();
		measure(0);
		long sum = pss[0];
		for (int k = 1; k <= KIDS; k++)
			h_collect(names[k]), sum += pss[k];
		/* 2048 common pages, 293+41+41+158 changed: a little under 11 MB in all, where separate copies need 48 MB */
		CHECK(sum < 14000, "the six processes need %ld KB of memory together: their pages are no longer shared", sum);
	}
	for (int k = 0; k < KIDS; k++)
		wait(NULL);
	return 0;
}
